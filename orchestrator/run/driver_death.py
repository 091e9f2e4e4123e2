"""A driver that died without a word: written down by its supervisor, or by the driver after it."""

import time
from typing import TYPE_CHECKING

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
    newest = next(reversed(directory.attempts.all()), None)
    fields: dict[str, JsonValue] = {
        "time": at,
        "event": "driver-died",
        "attempt": newest.number if newest else None,
        "reason": f"the driver died: {how}",
        "class": "driver",
    }
    events.write({**fields, **cost_of(directory, newest, now=at).fields})


def record_unseen_death(directory: RunDirectory, events: JsonLinesWriter) -> None:
    """Does so where the newest attempt has no end, and nobody has said why."""
    words = (event.event for event in reversed(parse_events(read_json_lines(directory.events))))
    newest = next(reversed(directory.attempts.all()), None)
    last = next((word for word in words if word in _BEGUN | _ENDED), None)
    # The attempt is recorded before its event is.
    if newest is None or last in _ENDED:
        return
    record_death(directory, events, how="nobody saw how", at=heard_last(directory, newest))
