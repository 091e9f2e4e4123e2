"""How a run ended, written down where it did not simply go on to its last step."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pydantic import JsonValue

from orchestrator.checkpoint.attempts import AttemptLog
from orchestrator.errors import OrchestratorError
from orchestrator.jsonl import JsonLinesWriter
from orchestrator.run.lease import Lease

INTERRUPTED = 130
FAILED = 1


@contextmanager
def ending_recorded(events: JsonLinesWriter, attempts: AttemptLog, lease: Lease) -> Iterator[None]:
    """Writes an event `interrupted` or `failed` when that is how its block ends."""
    begun = attempts.newest()
    try:
        yield
    except BaseException as error:
        # A run that another driver has taken over has not ended.
        if not lease.lost:
            newest = attempts.newest()
            _write(events, _ending(error), attempt=newest if newest > begun else None)
        raise


def _ending(error: BaseException) -> dict[str, JsonValue]:
    code = error.exit_code if isinstance(error, OrchestratorError) else FAILED
    if isinstance(error, KeyboardInterrupt) or code == INTERRUPTED:
        return {"event": "interrupted"}
    ours = isinstance(error, OrchestratorError)
    reason = str(error) if ours else f"{type(error).__name__}: {error}"
    return {"event": "failed", "reason": reason, "exit_code": code}


def _write(events: JsonLinesWriter, ending: dict[str, JsonValue], *, attempt: int | None) -> None:
    # A full disk may be the very reason of the end, and must not take its place.
    with suppress(OSError):
        events.write({"time": time.time(), "attempt": attempt, **ending})
