"""What a run came to, as values and as text."""

import math
from io import StringIO
from pathlib import Path
from typing import Literal

import pytest
from rich.console import Console

from orchestrator.checkpoint.attempts import Attempt
from orchestrator.report.history import history
from orchestrator.report.records import Event, Record, TrainRecord, ValidationRecord
from orchestrator.report.render import render
from orchestrator.report.status import RunStatus
from orchestrator.report.storage import entry_sizes
from orchestrator.report.summary import Measured, RunSummary, Throughput, summarise

RUN_DIR = Path("/data/runs/digits")
FINISHED = RunStatus(word="finished")


def attempt(number: int, *, parent: int | None, step: int, started_at: float) -> Attempt:
    return Attempt(
        number=number,
        parent=parent,
        step=step,
        checkpoint=f"step-{step:09d}-1" if step else None,
        checkpoint_digest="d" if step else None,
        workers=2,
        driver=number,
        reason="started",
        host="here",
        pid=7,
        started_at=started_at,
    )


ATTEMPTS = [
    attempt(1, parent=None, step=0, started_at=999.0),
    attempt(2, parent=1, step=20, started_at=90_000.0),
]


def train(attempt: int, step: int, *, time: float, rate: float, wait: float) -> TrainRecord:
    return TrainRecord(
        time=time,
        attempt=attempt,
        epoch=0,
        step=step,
        loss=0.5,
        lr=0.1,
        rows=step * 10,
        rows_per_s=rate,
        wait_share=wait,
    )


def validation(attempt: int, step: int, *, time: float, **metrics: float) -> ValidationRecord:
    return ValidationRecord(
        time=time, attempt=attempt, epoch=0, step=step, rows=8, seconds=1.0, metrics=metrics
    )


# Attempt 1 starts at 1000 s, does 30 steps and loses 10; attempt 2 starts a day later.
RECORDS: list[Record] = [
    train(1, 10, time=1005.0, rate=50.0, wait=0.5),
    train(1, 20, time=1006.0, rate=100.0, wait=0.0),
    validation(1, 20, time=1007.0, loss=0.3, accuracy=0.9),
    train(1, 30, time=1008.0, rate=1.0, wait=1.0),
    validation(1, 30, time=1009.0, loss=0.0, accuracy=1.0),
    train(2, 30, time=90_001.0, rate=100.0, wait=0.0),
    train(2, 40, time=90_002.0, rate=100.0, wait=0.0),
    validation(2, 40, time=90_003.0, loss=0.4, accuracy=0.95),
]
EVENTS = [
    Event(time=1000.0, event="attempt-started", attempt=1),
    Event(
        time=1010.0,
        event="attempt-failed",
        attempt=1,
        fields={"reason": "worker 1 died"},
    ),
    Event(time=90_000.0, event="attempt-started", attempt=2),
    Event(time=90_004.0, event="finished", attempt=2),
]


def make_summary(
    records: list[Record] = RECORDS,
    *,
    best_metric: str = "loss",
    best_mode: Literal["min", "max"] = "min",
    checkpoints: tuple[str, ...] = ("step-000000020-1", "step-000000040-2"),
    status: RunStatus = FINISHED,
) -> RunSummary:
    return summarise(
        records,
        EVENTS,
        ATTEMPTS,
        name="digits",
        run_dir=RUN_DIR,
        status=status,
        total_steps=40,
        steps_per_epoch=16,
        best_metric=best_metric,
        best_mode=best_mode,
        checkpoints=checkpoints,
        best_checkpoint="step-000000020-1",
        log_file=RUN_DIR / "ray.log",
        sizes={"checkpoints": 3 * 2**20, "metrics.jsonl": 2**20},
    )


def test_only_what_counts_is_summed_up() -> None:
    summary = make_summary()
    assert (summary.steps, summary.rows, summary.epochs) == (40, 400, 2.5)
    assert (len(summary.attempts), summary.restarts) == (2, 1)
    assert summary.last_at == 90_004.0
    assert summary.throughput.train_s == pytest.approx(5.0)
    assert summary.throughput.rows_per_s == pytest.approx(80.0)
    assert summary.throughput.wait_share == pytest.approx(0.2)


def test_the_time_between_two_attempts_is_not_elapsed() -> None:
    assert make_summary().elapsed_s == pytest.approx(14.0)


@pytest.mark.parametrize(
    ("metric", "mode", "step"),
    [("loss", "min", 20), ("loss", "max", 40), ("accuracy", "max", 40), ("accuracy", "min", 20)],
)
def test_the_best_validation_goes_by_the_metric_asked_for(
    metric: str, mode: Literal["min", "max"], step: int
) -> None:
    summary = make_summary(best_metric=metric, best_mode=mode)
    assert summary.best is not None
    assert summary.best.step == step
    assert summary.last == Measured(step=40, metrics={"loss": 0.4, "accuracy": 0.95})


def test_each_attempt_says_what_became_of_it() -> None:
    first, second = make_summary().attempts
    assert (first.outcome, first.reason, first.seconds) == ("failed", "worker 1 died", 11.0)
    assert (second.outcome, second.reason, second.seconds) == ("finished", None, 4.0)
    assert (second.checkpoint, second.step, second.workers) == ("step-000000020-1", 20, 2)


@pytest.mark.parametrize(("word", "outcome"), [("running", "running"), ("died", "died")])
def test_an_attempt_without_an_end_runs_or_has_died(
    word: Literal["running", "died"], outcome: str
) -> None:
    (made,) = history(ATTEMPTS[:1], EVENTS[:1], [], RunStatus(word=word))
    assert (made.outcome, made.reason, made.seconds) == (outcome, None, 1.0)


def test_only_what_is_out_of_the_ordinary_is_told_afterwards() -> None:
    assert [event.event for event in make_summary().events] == ["attempt-failed"]


def test_a_run_that_has_just_been_resumed_stands_where_it_begins() -> None:
    records = [record for record in RECORDS if record.attempt == 1]
    assert make_summary(records).steps == 20
    assert make_summary([]).steps == 20


def test_a_metric_that_is_no_number_is_never_the_best() -> None:
    records = [validation(2, step, time=1.0, loss=math.nan) for step in (30, 50)]
    summary = make_summary([records[0], *RECORDS, records[1]])
    assert summary.best == Measured(step=20, metrics={"loss": 0.3, "accuracy": 0.9})


def test_a_metric_that_was_never_measured_has_no_best() -> None:
    assert make_summary(best_metric="f1").best is None


def test_a_run_that_never_trained_has_a_summary() -> None:
    summary = summarise(
        [],
        [],
        [],
        name="digits",
        run_dir=RUN_DIR,
        status=RunStatus(word="failed", reason="cannot start Ray:\nno memory"),
        total_steps=32,
        steps_per_epoch=16,
    )
    assert summary.steps == 0
    assert summary.throughput == Throughput(train_s=0.0, rows_per_s=None, wait_share=None)
    assert render(summary).plain.splitlines() == [
        "digits  failed",
        "",
        "  why          cannot start Ray:",
        "               no memory",
        "  trained      0 of 32 steps  0 of 2 epochs  0 rows",
        "  throughput   nothing measured",
        "  attempts     0",
        "  checkpoints  none",
        "  run          /data/runs/digits",
    ]


def test_the_summary_reads_well() -> None:
    assert render(make_summary()).plain.splitlines() == [
        "digits  finished",
        "",
        "  trained      40 steps  2.5 epochs  400 rows",
        "  validation   loss 0.4  accuracy 0.95  (step 40)",
        "  best         loss 0.3  accuracy 0.9  (step 20, best loss)",
        "  throughput   80 rows/s  data wait 20%  5s training  14s in all",
        "  attempts     2 (1 after a failure)",
        "  checkpoints  step-000000020-1  (best)",
        "               step-000000040-2",
        "  run          /data/runs/digits  (4MiB)",
        "  log          /data/runs/digits/ray.log",
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_many_metrics_are_broken_between_metrics(width: int) -> None:
    metrics = {f"metric_{number}": number / 7 for number in range(12)}
    text = render(make_summary([*RECORDS, validation(2, 41, time=1.0, **metrics)]), width=width)
    lines = text.plain.splitlines()
    assert max(len(line) for line in lines) <= width
    assert all(any(name in line for line in lines) for name in metrics)


def test_of_many_checkpoints_the_newest_and_the_best_are_named() -> None:
    names = ("step-000000020-1", *(f"step-{number:09d}-2" for number in range(30, 50)))
    lines = render(make_summary(checkpoints=names)).plain.splitlines()
    assert "  checkpoints  step-000000020-1  (best)" in lines
    assert "               step-000000049-2" in lines
    assert "               and 14 more" in lines


def test_colours_are_for_terminals_only() -> None:
    piped = Console(file=StringIO(), force_terminal=False, width=80)
    piped.print(render(make_summary()), soft_wrap=True)
    assert isinstance(piped.file, StringIO)
    assert "\x1b" not in piped.file.getvalue()
    assert piped.file.getvalue().splitlines() == render(make_summary()).plain.splitlines()


def test_sizes_are_those_of_all_files_below_each_entry(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "a").mkdir(parents=True)
    (tmp_path / "checkpoints" / "a" / "model.pt").write_bytes(b"x" * 300)
    (tmp_path / "checkpoints" / "b.json").write_bytes(b"x" * 20)
    (tmp_path / "metrics.jsonl").write_bytes(b"x" * 7)
    assert entry_sizes(tmp_path) == {"checkpoints": 320, "metrics.jsonl": 7}
