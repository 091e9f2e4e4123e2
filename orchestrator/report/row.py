"""A run as a line in a list of runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.report.status import RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """What a list says of a run.

    Attributes:
        loss: of the newest report of training, None before the first.
        metrics: of the newest validation, None before the first.
        last_at: when something was last heard of it, Unix time in seconds.
        size: bytes of its directory.
    """

    name: str
    run_dir: Path
    status: RunStatus
    steps: int
    total_steps: int
    steps_per_epoch: int
    loss: float | None
    metrics: Mapping[str, float] | None
    last_at: float
    attempts: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedRow:
    """A run that a list cannot say anything about, and why."""

    name: str
    run_dir: Path
    reason: str
    last_at: float


def newest_first(rows: list[RunRow | DamagedRow]) -> list[RunRow | DamagedRow]:
    """Returns the runs, those first that did something last."""
    return sorted(rows, key=lambda row: (-row.last_at, row.name))
