"""How a run stands, in a word, from what was written down about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.report.records import Event

StatusWord = Literal["running", "finished", "interrupted", "failed", "died"]

# What says how an attempt or a run began or ended; "stopped" is the first rank's word for what its
# driver then calls "interrupted".
_WORDS = frozenset(
    {"attempt-started", "attempt-failed", "stopped", "interrupted", "failed", "finished"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """How a run stands.

    Attributes:
        word: `died` is a run whose driver is gone without having said why.
        reason: why, or by whom; None where there is nothing to add.
    """

    word: StatusWord
    reason: str | None = None

    def __str__(self) -> str:
        return self.word if self.reason is None else f"{self.word}: {self.reason}"


def last_word(events: Sequence[Event]) -> str | None:
    """The newest event that says how a run began or ended, None where there is none."""
    return next((event.event for event in reversed(events) if event.event in _WORDS), None)


def run_status(events: Sequence[Event], *, driver: str | None, alive: bool) -> RunStatus:
    """How a run stands.

    Args:
        driver: the process that trains it, or was the last to do so, in words; None if unknown.
        alive: whether that process still holds the run.
    """
    if alive:
        return RunStatus(word="running", reason=f"by {driver}" if driver else None)
    match last_word(events):
        case "finished":
            return RunStatus(word="finished")
        case "interrupted" | "stopped":
            return RunStatus(word="interrupted")
        case "failed":
            failed = next(event for event in reversed(events) if event.event == "failed")
            return RunStatus(word="failed", reason=str(failed.fields.get("reason")))
    whose = f"its driver, {driver}," if driver else "its driver"
    return RunStatus(word="died", reason=f"{whose} is gone without a word")
