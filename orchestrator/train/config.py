"""What the driver tells each training worker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ray.data import DataIterator

from orchestrator.data.fitted import FittedState
from orchestrator.plan.job import JobPlan
from orchestrator.plan.open_epoch import OpenEpoch


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerConfig:
    """One attempt, as all of its workers see it.

    `step` is the number of steps of the whole run that are done; `checkpoint` is the name and the
    digest of the checkpoint they load, None at the start of a run. `open_epoch` says which steps of
    the epoch are done, where these are not just its first ones. `fitted` has the states of the
    fitted transforms, which go into every checkpoint. `readers` has the streams by their split,
    with one reader for each rank. `skips` are the steps to leave out, by the order.
    """

    plan: JobPlan
    root: Path
    run_dir: Path
    attempt: int
    step: int
    checkpoint: tuple[str, str] | None
    fitted: tuple[FittedState, ...]
    readers: Mapping[str, Sequence[DataIterator]]
    open_epoch: OpenEpoch | None = None
    skips: frozenset[int] = frozenset()
