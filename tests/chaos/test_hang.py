"""A worker that hangs, and one that is stopped: both are named and ended, at no cost of a bit."""

import signal
from pathlib import Path

import pytest

from orchestrator.train.beat import beats_folder, read_beats
from tests.support.data import write_rows
from tests.support.faults import RANK, actors
from tests.support.runs import Run, wait_until_gone, write_job

# Longer than a start takes from the first beat to the first step on a busy machine.
LIMIT = "20s"
HANG_AT, STEPS = 13, 20


def a_run(folder: Path, name: str, *, marker: Path) -> Run:
    job = write_job(
        folder / f"{name}.yaml",
        dataset={"train": {"paths": str(write_rows(folder / f"rows-{name}", 240))}},
        training={
            "task": "tests.support.hanging:HangingTask",
            "with": {"hang_at": HANG_AT, "marker": str(marker), "step_s": 0.3},
        },
        scaling={"workers": 2},
        failure={"hang_timeout": LIMIT},
    )
    return Run(job, name)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hanging_and_a_stopped_worker_are_named_and_cost_no_bit(tmp_path: Path) -> None:
    done = tmp_path / "done"
    done.touch()
    undisturbed = a_run(tmp_path, "undisturbed", marker=done)
    undisturbed.complete()
    assert undisturbed.step() == STEPS
    assert not undisturbed.events("hang")
    assert not (undisturbed.dir / "beats").exists()

    run = a_run(tmp_path, "hanging", marker=tmp_path / "hung")
    driver = run.start()
    driver.wait_for("the hang", lambda: len(run.events("hang")) == 1)
    (hung,) = run.events("hang")
    assert (hung["attempt"], hung["rank"], hung["ranks"]) == (1, 1, [1])
    assert hung["step"] == HANG_AT - 1
    assert any("sleep_for_ever" in str(frame) for frame in hung["stack"])
    assert "worker 1 hangs, in sleep_for_ever" in str(hung["reason"])
    # The other one waits for it.
    assert sorted(hung["stacks"]) == ["0", "1"]
    assert not any("sleep_for_ever" in str(frame) for frame in hung["stacks"]["0"])
    assert "sleep_for_ever" in (run.dir / "logs" / str(hung["log"])).read_text()

    driver.wait_for_step(HANG_AT + 2)
    session = driver.session()
    stopped = actors(session, RANK)[0]
    ranks = {beat.pid: beat.rank for beat in read_beats(beats_folder(run.dir, 2)).values()}
    assert len(ranks) == 2
    stopped.send_signal(signal.SIGSTOP)
    printed = driver.finish()
    assert "hang" in printed
    _, second = run.events("hang")
    assert (second["attempt"], second["ranks"]) == (2, [ranks[stopped.pid]])
    assert "was stopped by a signal" in str(second["reason"])
    assert second["stack"]

    assert [attempt["step"] for attempt in run.attempts()] == [0, 10, 10]
    assert [event["class"] for event in run.events("attempt-failed")] == ["hang", "hang"]
    assert run.losses() == undisturbed.losses()
    assert run.state_digest() == undisturbed.state_digest()
    assert not (run.dir / "beats").exists()
    wait_until_gone(session)
