"""What a run came to, from its records, events and attempts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from orchestrator.report.effective import AttemptLink, effective_records
from orchestrator.report.records import Event, Record, TrainRecord, ValidationRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The metrics of one validation pass."""

    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """How fast training was over the steps that count.

    Attributes:
        train_s: seconds spent on those steps, waiting for data included; validation, start-up
            and steps that were done again are not.
        rows_per_s: rows of those steps over these seconds, None without any.
        wait_share: the part of these seconds spent waiting for data, None without any.
    """

    train_s: float
    rows_per_s: float | None
    wait_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What a run came to.

    Attributes:
        status: how it ended, in a word or a few ("finished").
        epochs: how many epochs the steps make, with its fraction.
        rows: how many rows the run has trained on, each as often as it was used.
        best: the best validation by `best_metric`, None where that was never measured.
        attempts: how many times training was begun.
        restarts: how many failed attempts were followed by another.
        elapsed_s: seconds in which an attempt was under way, lost work included.
        checkpoints: the names of those kept, oldest first.
        sizes: bytes of each entry of the run directory.
    """

    name: str
    run_dir: Path
    status: str
    steps: int
    epochs: float
    rows: int
    last: Measured | None
    best: Measured | None
    best_metric: str
    throughput: Throughput
    elapsed_s: float
    attempts: int
    restarts: int
    checkpoints: tuple[str, ...]
    best_checkpoint: str | None
    log_file: Path | None
    sizes: Mapping[str, int] = field(default_factory=dict)


def summarise(
    records: Sequence[Record],
    events: Sequence[Event],
    attempts: Sequence[AttemptLink],
    *,
    name: str,
    run_dir: Path,
    status: str,
    steps_per_epoch: int,
    best_metric: str = "loss",
    best_mode: Literal["min", "max"] = "min",
    checkpoints: Sequence[str] = (),
    best_checkpoint: str | None = None,
    log_file: Path | None = None,
    sizes: Mapping[str, int] | None = None,
) -> RunSummary:
    """Returns what a run came to; of records and events it takes all, also those that were lost.

    Args:
        best_metric: the validation metric that decides which validation is the best.
        checkpoints: the names of those kept, oldest first.
        sizes: bytes of each entry of the run directory.
    """
    effective = effective_records(records, attempts)
    trained = [record for record in effective if isinstance(record, TrainRecord)]
    validated = [record for record in effective if isinstance(record, ValidationRecord)]
    steps = max((record.step for record in trained), default=0)
    return RunSummary(
        name=name,
        run_dir=run_dir,
        status=status,
        steps=steps,
        epochs=steps / steps_per_epoch,
        rows=max((record.rows for record in trained), default=0),
        last=_measured(validated[-1]) if validated else None,
        best=_best(validated, best_metric, best_mode),
        best_metric=best_metric,
        throughput=_throughput(trained),
        elapsed_s=_elapsed_s(records, events),
        attempts=len(attempts),
        restarts=_restarts(events, attempts),
        checkpoints=tuple(checkpoints),
        best_checkpoint=best_checkpoint,
        log_file=log_file,
        sizes=dict(sizes or {}),
    )


def _measured(record: ValidationRecord) -> Measured:
    return Measured(step=record.step, metrics=dict(record.metrics))


def _best(
    validated: Sequence[ValidationRecord], metric: str, mode: Literal["min", "max"]
) -> Measured | None:
    # A metric that is no number (NaN) is equal to nothing, not even to itself, and never best.
    candidates = [
        record
        for record in validated
        if metric in record.metrics and record.metrics[metric] == record.metrics[metric]
    ]
    if not candidates:
        return None
    choose = min if mode == "min" else max
    return _measured(choose(candidates, key=lambda record: record.metrics[metric]))


def _throughput(trained: Sequence[TrainRecord]) -> Throughput:
    rows_before = rows_timed = 0
    train_s = wait_s = 0.0
    for record in trained:
        rows = record.rows - rows_before
        rows_before = record.rows
        if record.rows_per_s > 0:
            rows_timed += rows
            train_s += rows / record.rows_per_s
            wait_s += record.wait_share * rows / record.rows_per_s
    if train_s == 0:
        return Throughput(train_s=0.0, rows_per_s=None, wait_share=None)
    return Throughput(train_s=train_s, rows_per_s=rows_timed / train_s, wait_share=wait_s / train_s)


def _elapsed_s(records: Sequence[Record], events: Sequence[Event]) -> float:
    """Sums up the attempts, so that the days before a run was resumed do not count."""
    times: dict[int, list[float]] = {}
    for item in [*records, *events]:
        if item.attempt is not None:
            times.setdefault(item.attempt, []).append(item.time)
    return sum(max(of_attempt) - min(of_attempt) for of_attempt in times.values())


def _restarts(events: Sequence[Event], attempts: Sequence[AttemptLink]) -> int:
    newest = max((link.attempt for link in attempts), default=0)
    failed = {event.attempt for event in events if event.event == "attempt-failed"}
    return sum(1 for attempt in failed if attempt is not None and attempt < newest)
