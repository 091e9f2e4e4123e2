"""A driver that is killed under its supervisor is started again; the run ends as if undisturbed."""

from pathlib import Path

import psutil
import pytest

from orchestrator.run.budgets import read_account
from tests.support.data import write_rows
from tests.support.runs import Driver, Run, wait_until_gone, write_job

STEPS = 28


@pytest.fixture
def job(tmp_path: Path) -> Path:
    # 331 rows: 14 steps an epoch.
    return write_job(
        tmp_path / "job.yaml",
        dataset={"train": {"paths": str(write_rows(tmp_path / "train", 331))}},
        training={"task": "tests.support.task:SmallTask", "with": {"step_s": 0.2}},
        scaling={"workers": 2, "preprocessing": {"workers": 1}},
        checkpoint={"storage": str(tmp_path / "runs"), "every": "5 steps"},
        failure={"restart_driver": 2},
    )


def driver_under(supervisor: Driver) -> psutil.Process:
    """The driver of the moment."""
    (driver,) = psutil.Process(supervisor.process.pid).children()
    return driver


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_driver_that_is_killed_twice_costs_no_more_than_an_interval_each_time(job: Path) -> None:
    undisturbed, run = Run(job, "undisturbed"), Run(job, "killed")
    undisturbed.complete("failure.restart_driver=0")
    supervisor = run.start()
    sessions = []
    for attempt, step in ((1, 7), (2, 17)):
        supervisor.wait_for(
            f"step {step} of attempt {attempt}",
            lambda at=(attempt, step): any(  # type: ignore[misc]  # bound, for the loop's sake
                record["attempt"] == at[0] and int(str(record["step"])) >= at[1]
                for record in run.metrics()
            ),
        )
        sessions.append(supervisor.session())
        driver_under(supervisor).kill()
    printed = supervisor.finish()

    assert printed.count("the driver died: by signal 9 (SIGKILL); it is started again") == 2
    deaths = run.events("driver-died")
    assert [(death["attempt"], death["class"]) for death in deaths] == [
        (1, "driver"),
        (2, "driver"),
    ]
    # A save every 5 steps, and it may be a step or two late.
    assert all(int(str(death["steps_lost"])) <= 7 for death in deaths)
    assert [attempt["parent"] for attempt in run.attempts()] == [None, 1, 2]
    assert read_account(run.dir).total == {"driver": 2}
    assert "2 driver:" in printed
    assert run.step() == STEPS
    assert run.losses() == undisturbed.losses()
    assert run.state_digest() == undisturbed.state_digest()
    for session in sessions:
        wait_until_gone(session)


@pytest.mark.slow
def test_nothing_outlives_a_supervisor_that_is_killed(job: Path) -> None:
    run = Run(job, "orphaned")
    supervisor = run.start()
    supervisor.wait_for_step(3)
    session, driver = supervisor.session(), driver_under(supervisor)
    supervisor.process.kill()
    supervisor.process.wait()
    driver.wait(timeout=30)
    wait_until_gone(session)
    # The same command goes on, and says that a driver has died without a witness.
    run.complete()
    (death,) = run.events("driver-died")
    assert death["reason"] == "the driver died: nobody saw how"
    assert run.step() == STEPS
