"""Ctrl-C and SIGTERM end a run in an orderly way, a second one at once, in whatever phase it is."""

import signal
import time
from pathlib import Path

import pytest

from tests.support.data import write_rows
from tests.support.runs import Driver, Run, wait_until_gone, write_job

# Far more than a second Ctrl-C may take, far less than what it does not wait for.
SOON_S = 15.0


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interrupt")
    return write_job(
        folder / "job.yaml",
        dataset={"train": {"paths": str(write_rows(folder / "train", 240))}},
        training={"with": {"step_s": 0.05}, "epochs": 4},
        scaling={"workers": 2},
        # So seldom that only the interruption itself can have saved.
        checkpoint={"every": "1000 steps"},
    )


def assert_interrupted(run: Run, driver: Driver, session: Path) -> str:
    printed = driver.finish(code=130)
    wait_until_gone(session, limit_s=0.0)
    assert "interrupted" in printed.splitlines()[-1]
    assert "Traceback" not in printed
    assert "error:" not in printed
    return printed


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_the_first_signal_saves_the_very_step_and_the_run_goes_on_from_there(
    job: Path, number: signal.Signals
) -> None:
    run = Run(job, f"first-{number.name.lower()}")
    driver = run.start()
    driver.wait_for_step(7)
    session = driver.session()
    if number == signal.SIGINT:
        # As a terminal does it: to everything that was started from it.
        driver.signal_group(number)
    else:
        # As `kill` and containers do it; Ray's own processes would end at once.
        driver.process.send_signal(number)
    assert_interrupted(run, driver, session)
    (stopped,) = run.events("stopped")
    (saved,) = run.events("checkpoint")
    assert saved["step"] == stopped["step"] == run.step()
    assert run.events("attempt-failed") == []
    assert f"from {saved['name']}" in run.complete()
    assert run.step() == 40
    assert len(run.losses()) == 40
    second = run.attempts()[1]
    assert (second["step"], second["parent"]) == (stopped["step"], 1)


def test_before_the_first_step_there_is_nothing_to_wait_for(job: Path) -> None:
    run = Run(job, "early")
    driver = run.start()
    driver.wait_for("an attempt", lambda: len(run.events("attempt-started")) == 1)
    session = driver.session()
    driver.signal_group(signal.SIGINT)
    assert_interrupted(run, driver, session)
    assert run.events("checkpoint") == []
    assert run.step() == 0


def test_a_run_that_is_still_starting_ray_is_ended_too(job: Path) -> None:
    run = Run(job, "starting")
    driver = run.start()
    driver.wait_for("a session", lambda: (run.dir / "session.json").exists())
    session = driver.session()
    driver.signal_group(signal.SIGINT)
    assert_interrupted(run, driver, session)
    assert run.events("attempt-started") == []


def test_the_second_signal_waits_for_nothing(job: Path) -> None:
    run = Run(job, "second")
    driver = run.start("training.with.step_s=60", "training.report_every=1")
    driver.wait_for("training", lambda: len(run.events("training-started")) == 1)
    session = driver.session()
    driver.signal_group(signal.SIGINT)
    driver.wait_for("the first signal", lambda: (run.dir / "stop-request").exists())
    began = time.monotonic()
    driver.signal_group(signal.SIGINT)
    driver.finish(code=130)
    assert time.monotonic() - began < SOON_S
    wait_until_gone(session, limit_s=0.0)


# tests/unit/test_run_guard.py has the guard that does it, test_exactly_once.py a driver that is
# killed and followed by the next one.
@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_nothing_running(job: Path) -> None:
    run = Run(job, "killed")
    driver = run.start()
    driver.wait_for_step(2)
    session = driver.session()
    driver.process.kill()
    driver.process.wait()
    wait_until_gone(session)
