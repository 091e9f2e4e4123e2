"""What became of each attempt of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.checkpoint.attempts import Attempt
from orchestrator.report.records import Event, Record
from orchestrator.report.status import RunStatus, StatusWord

OUTCOMES: Mapping[str, StatusWord] = {
    "attempt-failed": "failed",
    "failed": "failed",
    "stopped": "interrupted",
    "interrupted": "interrupted",
    "finished": "finished",
}
"""The events that end an attempt, and how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptHistory:
    """One start of the workers, and what became of it.

    Attributes:
        parent: the attempt whose checkpoint it began with, None where it began from nothing.
        step: how many steps of the run were done when it began.
        started_at: Unix time in seconds.
        seconds: from its start to the last that was heard of it.
        outcome: as the word of a run's status; `died` where no end was written down.
        reason: why it ended so, None where nothing is to be added.
    """

    number: int
    parent: int | None
    checkpoint: str | None
    step: int
    workers: int
    driver: int
    started_at: float
    seconds: float
    outcome: StatusWord
    reason: str | None


def history(
    attempts: Sequence[Attempt],
    events: Sequence[Event],
    records: Sequence[Record],
    status: RunStatus,
) -> tuple[AttemptHistory, ...]:
    """Returns what became of each attempt, oldest first."""
    last: dict[int, float] = {}
    for item in [*events, *records]:
        if item.attempt is not None:
            last[item.attempt] = max(item.time, last.get(item.attempt, item.time))
    newest = attempts[-1].number if attempts else None
    return tuple(
        _history(
            attempt,
            [event for event in events if event.attempt == attempt.number],
            last=last.get(attempt.number, attempt.started_at),
            running=attempt.number == newest and status.word == "running",
        )
        for attempt in attempts
    )


def _history(
    attempt: Attempt, events: Sequence[Event], *, last: float, running: bool
) -> AttemptHistory:
    # Of "attempt-failed" and the "failed" of the whole run, the first is about the attempt.
    end = next((event for event in events if event.event in OUTCOMES), None)
    outcome: StatusWord = "running" if running else "died"
    reason = None
    if end is not None:
        last = end.time
        outcome = OUTCOMES[end.event]
        reason = str(end.fields["reason"]) if "reason" in end.fields else None
    return AttemptHistory(
        number=attempt.number,
        parent=attempt.parent,
        checkpoint=attempt.checkpoint,
        step=attempt.step,
        workers=attempt.workers,
        driver=attempt.driver,
        started_at=attempt.started_at,
        seconds=max(0.0, last - attempt.started_at),
        outcome=outcome,
        reason=reason,
    )
