"""What a failure costs: the work since the newest checkpoint, which is done again."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from orchestrator.checkpoint.attempts import Attempt
from orchestrator.jsonl import JsonObject, read_json_lines
from orchestrator.run.directory import RunDirectory

# Enough for the events and records since the last checkpoint: others are not looked for.
_TAIL_BYTES = 2**18


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What is lost of an attempt.

    Attributes:
        steps: those past the newest checkpoint, as far as they were reported.
        seconds: since that checkpoint was committed, or else since the attempt began.
    """

    steps: int
    seconds: float

    @property
    def fields(self) -> dict[str, JsonValue]:
        """What an event says of it."""
        return {"steps_lost": self.steps, "seconds_lost": round(self.seconds, 3)}


def saved_steps(directory: RunDirectory) -> int:
    """Steps in the newest checkpoint, 0 where there is none."""
    newest = next(iter(directory.checkpoints.committed()), None)
    return newest.manifest.step if newest else 0


def cost_of(directory: RunDirectory, attempt: Attempt | None, *, now: float) -> Cost:
    """What is lost if an attempt, None if none began, ends now."""
    if attempt is None:
        return Cost(steps=0, seconds=0.0)
    saved = saved_steps(directory)
    events = _lines_of(directory, "events", attempt)
    saves = [e for e in events if e.get("event") == "checkpoint" and e.get("step") == saved]
    since = _times(saves) or [attempt.started_at]
    reached = [
        step
        for line in _lines_of(directory, "metrics", attempt)
        if isinstance(step := line.get("step"), int)
    ]
    return Cost(
        steps=max(0, max(reached, default=saved) - saved),
        seconds=max(0.0, now - max(since)),
    )


def heard_last(directory: RunDirectory, attempt: Attempt) -> float:
    """When something was last heard of an attempt, Unix time in seconds.

    A driver that died unseen has died soon after.
    """
    lines = [*_lines_of(directory, "events", attempt), *_lines_of(directory, "metrics", attempt)]
    return min(time.time(), max([attempt.started_at, *_times(lines)]))


def _lines_of(directory: RunDirectory, kind: str, attempt: Attempt) -> list[JsonObject]:
    path = directory.events if kind == "events" else directory.metrics
    lines = read_json_lines(path, last_bytes=_TAIL_BYTES)
    return [line for line in lines if line.get("attempt") == attempt.number]


def _times(lines: Sequence[JsonObject]) -> list[float]:
    return [float(at) for line in lines if isinstance(at := line.get("time"), int | float)]
