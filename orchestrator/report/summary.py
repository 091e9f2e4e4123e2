"""What a run came to, from its records, events and attempts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from orchestrator.checkpoint.attempts import Attempt
from orchestrator.report.effective import AttemptLink, effective_records
from orchestrator.report.faults import FaultCost, fault_costs
from orchestrator.report.history import AttemptHistory, history
from orchestrator.report.records import Event, Record, TrainRecord, ValidationRecord
from orchestrator.report.status import RunStatus

# Events that every run has; what else happens is worth telling afterwards.
_SMOOTH = frozenset(
    {
        "attempt-started",
        "training-started",
        "fitting",
        "fitted",
        "counting",
        "counted",
        "planned",
        "data-arrived",
        "checkpoint",
        "mirrored",
        "finished",
    }
)


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
    """What a run came to, or has come to so far.

    Attributes:
        steps: how many steps of the run are done.
        rows: how many rows the run has trained on, each as often as it was used.
        validations: those that count, by step.
        best: the best validation by `best_metric`, None where that was never measured.
        restarts: how many failed attempts were followed by another.
        elapsed_s: seconds in which an attempt was under way, lost work included.
        last_at: when something was last heard of it, Unix time in seconds; None if never.
        checkpoints: the names of those kept, oldest first.
        events: those that are not part of a run without trouble, oldest first.
        sizes: bytes of each entry of the run directory.
        quarantined: how many rows of each split are left out as bad.
        faults: what each class of failure has cost.
    """

    name: str
    run_dir: Path
    status: RunStatus
    steps: int
    total_steps: int
    steps_per_epoch: int
    rows: int
    validations: tuple[Measured, ...]
    best: Measured | None
    best_metric: str
    throughput: Throughput
    elapsed_s: float
    last_at: float | None
    attempts: tuple[AttemptHistory, ...]
    restarts: int
    checkpoints: tuple[str, ...]
    best_checkpoint: str | None
    events: tuple[Event, ...]
    log_file: Path | None
    sizes: Mapping[str, int] = field(default_factory=dict)
    quarantined: Mapping[str, int] = field(default_factory=dict)
    faults: tuple[FaultCost, ...] = ()

    @property
    def epochs(self) -> float:
        """How many epochs the steps make, with its fraction."""
        return self.steps / self.steps_per_epoch

    @property
    def total_epochs(self) -> float:
        """How many epochs all steps make, with its fraction."""
        return self.total_steps / self.steps_per_epoch

    @property
    def last(self) -> Measured | None:
        """The newest validation."""
        return self.validations[-1] if self.validations else None


def summarise(
    records: Sequence[Record],
    events: Sequence[Event],
    attempts: Sequence[Attempt],
    *,
    name: str,
    run_dir: Path,
    status: RunStatus,
    total_steps: int,
    steps_per_epoch: int,
    best_metric: str = "loss",
    best_mode: Literal["min", "max"] = "min",
    checkpoints: Sequence[str] = (),
    best_checkpoint: str | None = None,
    log_file: Path | None = None,
    sizes: Mapping[str, int] | None = None,
    quarantined: Mapping[str, int] | None = None,
) -> RunSummary:
    """Returns what a run came to; of records and events it takes all, also those that were lost.

    Args:
        best_metric: the validation metric that decides which validation is the best.
        checkpoints: the names of those kept, oldest first.
        sizes: bytes of each entry of the run directory.
        quarantined: how many rows of each split are left out as bad.
    """
    effective = effective_records(records, links_of(attempts))
    trained = [record for record in effective if isinstance(record, TrainRecord)]
    validated = [record for record in effective if isinstance(record, ValidationRecord)]
    return RunSummary(
        name=name,
        run_dir=run_dir,
        status=status,
        steps=steps_done(effective, attempts),
        total_steps=total_steps,
        steps_per_epoch=steps_per_epoch,
        rows=max((record.rows for record in trained), default=0),
        validations=tuple(map(_measured, validated)),
        best=_best(validated, best_metric, best_mode),
        best_metric=best_metric,
        throughput=_throughput(trained),
        elapsed_s=_elapsed_s(records, events),
        last_at=last_heard(records, events, attempts),
        attempts=history(attempts, events, records, status),
        restarts=_restarts(events, attempts),
        checkpoints=tuple(checkpoints),
        best_checkpoint=best_checkpoint,
        events=tuple(event for event in events if event.event not in _SMOOTH),
        log_file=log_file,
        sizes=dict(sizes or {}),
        quarantined=dict(quarantined or {}),
        faults=fault_costs(events),
    )


def links_of(attempts: Sequence[Attempt]) -> list[AttemptLink]:
    """Returns where each attempt comes from."""
    return [
        AttemptLink(attempt=attempt.number, parent=attempt.parent, start_step=attempt.step)
        for attempt in attempts
    ]


def steps_done(effective: Sequence[Record], attempts: Sequence[Attempt]) -> int:
    """Returns how many steps are done: as reported, or as the newest attempt began with.

    A checkpoint may be of a step that was never reported.
    """
    begun = attempts[-1].step if attempts else 0
    return max([begun, *(record.step for record in effective)])


def last_heard(
    records: Sequence[Record], events: Sequence[Event], attempts: Sequence[Attempt]
) -> float | None:
    """Returns when something was last heard of a run, None if never."""
    heard = [item.time for item in [*records, *events]]
    return max([*heard, *(attempt.started_at for attempt in attempts)], default=None)


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


def _restarts(events: Sequence[Event], attempts: Sequence[Attempt]) -> int:
    newest = max((attempt.number for attempt in attempts), default=0)
    failed = {event.attempt for event in events if event.event == "attempt-failed"}
    return sum(1 for attempt in failed if attempt is not None and attempt < newest)
