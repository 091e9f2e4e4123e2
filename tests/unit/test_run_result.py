"""What a run came to, from the files of its directory alone."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.checkpoint.attempts import Attempt
from orchestrator.errors import CheckpointError
from orchestrator.jsonl import JsonLinesWriter, read_json_lines
from orchestrator.plan.job import JobPlan
from orchestrator.report.records import parse_events
from orchestrator.report.status import RunStatus
from orchestrator.run.describe import describe_run
from orchestrator.run.directory import RunDirectory, open_run
from orchestrator.run.holder import LEASE_FILE, Here, Holder
from orchestrator.run.result import row_of, status_of, summarise_run
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
    saver.wait()
    recorder.close()


@pytest.fixture
def plan(tmp_path: Path) -> JobPlan:
    best = {"metric": "accuracy", "mode": "max"}
    return make_plan(tmp_path, checkpoint={"every": "4 steps", "keep_latest": 1, "best": best})


@pytest.fixture
def directory(plan: JobPlan) -> RunDirectory:
    directory = open_run(plan)
    describe_run(plan, directory)
    begin(directory, 1, parent=None, step=0)
    work(plan, directory, 1, range(1, 7))
    with JsonLinesWriter(directory.events) as events:
        events.write({"time": 107.0, "event": "attempt-failed", "attempt": 1, "reason": "died"})
    begin(directory, 2, parent=1, step=4)
    work(plan, directory, 2, range(5, 9))
    with JsonLinesWriter(directory.events) as events:
        events.write({"time": 209.0, "event": "finished", "attempt": 2, "step": 8})
    directory.next_log().write_text("printed")
    return directory


def test_a_run_is_summed_up_from_its_files(directory: RunDirectory) -> None:
    summary = summarise_run(directory)
    assert (summary.name, summary.status.word) == ("job", "finished")
    assert (summary.run_dir, summary.total_steps) == (directory.path, 8)
    assert (summary.steps, summary.epochs, summary.rows) == (8, 2.0, 80)
    assert (len(summary.attempts), summary.restarts) == (2, 1)
    assert summary.log_file == directory.logs / "driver-001.log"
    assert summary.throughput.rows_per_s == pytest.approx(20.0)


def test_what_a_lost_attempt_did_past_its_checkpoint_does_not_count(
    directory: RunDirectory,
) -> None:
    summary = summarise_run(directory)
    assert summary.last is not None
    assert summary.best is not None
    assert (summary.last.step, summary.last.metrics["accuracy"]) == (8, 0.5)
    # Not the 0.99 of step 6: that model is gone.
    assert (summary.best.step, summary.best.metrics["accuracy"]) == (2, 0.7)


def test_the_checkpoints_that_are_left_are_named_oldest_first(
    directory: RunDirectory,
) -> None:
    summary = summarise_run(directory)
    assert summary.checkpoints == ("step-000000002-001", "step-000000008-002")
    assert summary.best_checkpoint == "step-000000002-001"
    assert summary.sizes["checkpoints"] > 0


def test_a_run_that_has_only_been_described_has_a_summary_too(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    directory = open_run(plan)
    describe_run(plan, directory)
    summary = summarise_run(directory)
    assert (summary.steps, summary.attempts, summary.restarts) == (0, (), 0)
    assert (summary.best, summary.best_checkpoint, summary.log_file) == (None, None, None)
    assert summary.status == RunStatus(word="died", reason="its driver is gone without a word")


def test_texts_that_look_like_variables_do_not_hinder_the_summary(tmp_path: Path) -> None:
    best = {"metric": "${accuracy}", "mode": "max"}
    plan = make_plan(tmp_path, checkpoint={"best": best})
    directory = open_run(plan)
    describe_run(plan, directory)
    assert summarise_run(directory).best_metric == "${accuracy}"


BORN = {7: 70.0}
HERE = Here(identity="here", host="here", pid=7, birth_of=BORN.get)
HOLDER = Holder(
    token="t", host="here", identity="here", pid=7, birth=70.0, started_at=1e9, term_s=30.0
)


@pytest.mark.parametrize(
    ("holder", "renewed_s_ago", "word"),
    [
        pytest.param(None, 0, "finished", id="nobody holds it"),
        pytest.param(HOLDER, 0, "running", id="a process of this machine"),
        pytest.param(HOLDER, 3600, "running", id="one that has not renewed its lease"),
        pytest.param(replace(HOLDER, pid=8), 0, "finished", id="a dead one"),
        pytest.param(replace(HOLDER, identity="x"), 5, "running", id="one of another machine"),
        pytest.param(replace(HOLDER, identity="x"), 99, "finished", id="one that is silent"),
    ],
)
def test_a_run_runs_for_as_long_as_a_live_process_holds_it(
    directory: RunDirectory, holder: Holder | None, renewed_s_ago: float, word: str
) -> None:
    path = directory.path / LEASE_FILE
    if holder is not None:
        path.write_bytes(holder.to_bytes())
        then = time.time() - renewed_s_ago
        os.utime(path, (then, then))
    events = parse_events(read_json_lines(directory.events))
    status = status_of(directory, events, directory.attempts.all(), here=HERE)
    assert status.word == word


def test_a_row_says_the_same_as_the_summary(directory: RunDirectory) -> None:
    row, summary = row_of(directory), summarise_run(directory)
    assert (row.name, row.status, row.steps, row.total_steps) == ("job", summary.status, 8, 8)
    assert (row.metrics, row.loss, row.last_at) == ({"accuracy": 0.5, "loss": 0.5}, 1.0, 209.0)
    assert (row.attempts, row.size) == (2, sum(summary.sizes.values()))


def test_a_run_can_be_looked_at_while_it_writes_and_deletes(directory: RunDirectory) -> None:
    with directory.metrics.open("a") as metrics, directory.events.open("a") as events:
        metrics.write('{"kind": "train", "ti')
        events.write('{"ev')
    (directory.path / "checkpoints" / "step-000000009-002").mkdir()
    (directory.path / "checkpoints" / "step-000000002-001" / "state.pt").unlink()
    assert summarise_run(directory).checkpoints == ("step-000000008-002",)
    assert row_of(directory).steps == 8


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("plan.json", "{", "plan.json is damaged"),
        ("plan.json", '{"total_steps": 1}', "plan.json is damaged"),
        ("plan.json", '{"total_steps": 1, "steps_per_epoch": 0}', "plan.json is damaged"),
        ("plan.json", None, "plan.json"),
        ("job.yaml", "name: [", "job.yaml is damaged"),
        ("attempts/1.json", "{", "1.json is not an attempt's record"),
        ("metrics.jsonl", '{"kind": "train"}', "is damaged: train line"),
        ("events.jsonl", "{}", "is damaged: event line"),
    ],
)
def test_damage_is_named_with_its_file(
    directory: RunDirectory, name: str, content: str | None, message: str
) -> None:
    path = directory.path / name
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        summarise_run(directory)
    assert str(directory.path) in str(caught.value)
