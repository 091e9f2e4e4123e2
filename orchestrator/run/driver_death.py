"""A driver that died without a word: written down by its supervisor, or by the driver after it."""

import time
from typing import TYPE_CHECKING

from orchestrator.checkpoint.attempts import Attempt
from orchestrator.jsonl import JsonLinesWriter, read_json_lines
from orchestrator.report.records import parse_events
from orchestrator.run.cost import cost_of, heard_last
from orchestrator.run.directory import RunDirectory

if TYPE_CHECKING:
    from pydantic import JsonValue

_BEGUN = frozenset({"attempt-started", "attempt-failed"})
_ENDED = frozenset({"stopped", "interrupted", "failed", "finished", "driver-died"})


def record_death(
    directory: RunDirectory, events: JsonLinesWriter, *, how: str, at: float | None = None
) -> None:
    """Writes an event `driver-died`: how, and what it cost.

    Args:
        at: Unix time in seconds; now if it is left out.
    """
    at = time.time() if at is None else at
    attempt = _under_way(directory)
    fields: dict[str, JsonValue] = {
        "time": at,
        "event": "driver-died",
        "attempt": attempt.number if attempt else None,
        "reason": f"the driver died: {how}",
        "class": "driver",
    }
    events.write({**fields, **cost_of(directory, attempt, now=at).fields})


def record_unseen_death(directory: RunDirectory, events: JsonLinesWriter) -> None:
    """Does so where an earlier driver has begun something, and nobody has said how it ended."""
    if _last_word(directory) in _BEGUN:
        attempt = _under_way(directory)
        died_at = heard_last(directory, attempt) if attempt else None
        record_death(directory, events, how="nobody saw how", at=died_at)


def _under_way(directory: RunDirectory) -> Attempt | None:
    """The attempt that a death has ended: what others have cost is written down already."""
    if _last_word(directory) != "attempt-started":
        return None
    return directory.attempts.all()[-1]


def _last_word(directory: RunDirectory) -> str | None:
    events = reversed(parse_events(read_json_lines(directory.events)))
    return next((event.event for event in events if event.event in _BEGUN | _ENDED), None)
