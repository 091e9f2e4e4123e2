"""What a run came to, from the files of its directory alone."""

from pathlib import Path

import pytest

from orchestrator.checkpoint.attempts import Attempt
from orchestrator.jsonl import JsonLinesWriter
from orchestrator.plan.job import JobPlan
from orchestrator.run.directory import RunDirectory, open_run
from orchestrator.run.result import summarise_run
from orchestrator.train.recorder import Recorder
from orchestrator.train.saving import Saver
from tests.support.training import ConvTask, make_plan, make_state

# What each validation measured. Attempt 1 got to step 6; attempt 2 began again after step 4.
SCORES = {1: {2: 0.7, 4: 0.6, 6: 0.99}, 2: {6: 0.65, 8: 0.5}}


def begin(directory: RunDirectory, number: int, *, parent: int | None, step: int) -> None:
    directory.attempts.begin(
        Attempt(
            number=number,
            parent=parent,
            step=step,
            checkpoint=None,
            checkpoint_digest=None,
            workers=1,
            driver=1,
            reason="started",
            host="here",
            pid=1,
            started_at=0.0,
        )
    )


def work(plan: JobPlan, directory: RunDirectory, attempt: int, steps: range) -> None:
    """Records and saves as a worker does; the clock shows 100 s for each attempt, 1 s a step."""
    state = make_state(ConvTask())
    recorder = Recorder(directory.path, attempt=attempt, clock=lambda: 100.0 * attempt + state.step)
    saver = Saver(plan, directory.path, attempt=attempt, recorder=recorder)
    for step in steps:
        state.step, state.rows = step, 10 * step
        recorder.training(
            epoch=(step - 1) // 4,
            step=step,
            rows=state.rows,
            lr=0.1,
            means={"loss": 1.0},
            rows_per_s=20.0,
            wait_share=0.5,
        )
        metrics = {}
        if (score := SCORES[attempt].get(step)) is not None:
            metrics = {"accuracy": score, "loss": 1 - score}
            recorder.validation(epoch=0, step=step, rows=40, means=metrics, seconds=0.5)
        if step != 6 or attempt == 2:  # attempt 1 was killed before it could save
            saver.after_step(state, epoch_finished=step % 4 == 0, metrics=metrics)
    recorder.close()


@pytest.fixture
def plan(tmp_path: Path) -> JobPlan:
    best = {"metric": "accuracy", "mode": "max"}
    return make_plan(tmp_path, checkpoint={"every": "4 steps", "keep_latest": 1, "best": best})


@pytest.fixture
def directory(plan: JobPlan) -> RunDirectory:
    directory = open_run(plan)
    begin(directory, 1, parent=None, step=0)
    work(plan, directory, 1, range(1, 7))
    with JsonLinesWriter(directory.events) as events:
        events.write({"time": 107.0, "event": "attempt-failed", "attempt": 1, "reason": "died"})
    begin(directory, 2, parent=1, step=4)
    work(plan, directory, 2, range(5, 9))
    directory.next_log().touch()
    return directory


def test_a_run_is_summed_up_from_its_files(plan: JobPlan, directory: RunDirectory) -> None:
    summary = summarise_run(plan, directory, status="finished")
    assert (summary.name, summary.status, summary.run_dir) == ("job", "finished", directory.path)
    assert (summary.steps, summary.epochs, summary.rows) == (8, 2.0, 80)
    assert (summary.attempts, summary.restarts) == (2, 1)
    assert summary.log_file == directory.logs / "driver-001.log"
    assert summary.throughput.rows_per_s == pytest.approx(20.0)


def test_what_a_lost_attempt_did_past_its_checkpoint_does_not_count(
    plan: JobPlan, directory: RunDirectory
) -> None:
    summary = summarise_run(plan, directory, status="finished")
    assert summary.last is not None
    assert summary.best is not None
    assert (summary.last.step, summary.last.metrics["accuracy"]) == (8, 0.5)
    # Not the 0.99 of step 6: that model is gone.
    assert (summary.best.step, summary.best.metrics["accuracy"]) == (2, 0.7)


def test_the_checkpoints_that_are_left_are_named_oldest_first(
    plan: JobPlan, directory: RunDirectory
) -> None:
    summary = summarise_run(plan, directory, status="finished")
    assert summary.checkpoints == ("step-000000002-001", "step-000000008-002")
    assert summary.best_checkpoint == "step-000000002-001"
    assert summary.sizes["checkpoints"] > 0


def test_a_run_that_has_only_been_opened_has_a_summary_too(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    summary = summarise_run(plan, open_run(plan), status="failed")
    assert (summary.steps, summary.attempts, summary.restarts) == (0, 0, 0)
    assert (summary.best, summary.best_checkpoint, summary.log_file) == (None, None, None)
