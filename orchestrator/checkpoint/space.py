"""Whether a run's storage can be written, and has room for the checkpoints that will be kept."""

import os
import shutil
from pathlib import Path

from orchestrator.checkpoint.files import storage_errors
from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.errors import CheckpointError
from orchestrator.plan.job import JobPlan
from orchestrator.units import format_bytes

# Records, logs and the spec take some room in any run.
LEAST_BYTES = 32 << 20
# Below this the disk counts as nearly full, as long as the size of a checkpoint is not known.
SCARCE_BYTES = 256 << 20


def check_storage(run_dir: Path) -> None:
    """Checks, without writing anything, that the directory of a run can be made or written.

    Raises:
        CheckpointError: which part of its path stands in the way, and why.
    """
    with storage_errors("write to", run_dir):
        place = _existing(run_dir)
        if not place.is_dir():
            raise CheckpointError(
                f"cannot write to {run_dir}: {place} is a file, wanted a folder",
                hint="checkpoint.storage, or --storage, names the folder of the runs",
            )
        if not os.access(place, os.W_OK | os.X_OK):
            read_only = os.statvfs(place).f_flag & os.ST_RDONLY
            reason = "the file system is read-only" if read_only else "permission denied"
            raise CheckpointError(
                f"cannot write to {run_dir}: {reason} ({place})",
                hint="checkpoint.storage, or --storage, names the folder of the runs",
            )


def check_space(
    plan: JobPlan, *, state_bytes: int | None = None, free: int | None = None
) -> str | None:
    """Compares the free space with what the run will need; returns a warning if it is scarce.

    Args:
        state_bytes: size of a checkpoint; by default that of the run's newest one.
        free: free bytes where the run lives; by default the file system is asked.

    Raises:
        CheckpointError: there is too little.
    """
    committed = CheckpointStore(plan.run_dir / "checkpoints").committed()
    if committed and committed[0].manifest.step >= plan.total_steps:
        return None
    if free is None:
        with storage_errors("ask for the free space of", plan.run_dir):
            free = shutil.disk_usage(_existing(plan.run_dir)).free
    size = state_bytes
    if size is None and committed:
        size = committed[0].manifest.size
    # A checkpoint is deleted only after the next one is there.
    more = max(1, _kept_at_once(plan) + 1 - len(committed))
    needed = max(LEAST_BYTES, more * (size or 0))
    if free < needed:
        what = (
            f" for its checkpoints ({more} more of {format_bytes(size)})" if size else " at least"
        )
        raise CheckpointError(
            f"too little space for the run in {plan.run_dir}: {format_bytes(free)} are free,"
            f" {format_bytes(needed)} are needed{what}",
            hint="make room, lower checkpoint.keep_latest, or name another disk with --storage",
        )
    if size is None and free < SCARCE_BYTES:
        return f"the disk of {plan.run_dir} is nearly full: {format_bytes(free)} are free"
    return None


def _existing(path: Path) -> Path:
    """The path, or the nearest one above it that exists."""
    return next((place for place in (path, *path.parents) if place.exists()), path)


def _kept_at_once(plan: JobPlan) -> int:
    """Checkpoints that the run keeps, no more than it makes."""
    spec = plan.spec.checkpoint
    kept = spec.keep_latest + (spec.best.keep if spec.best else 0)
    kept += plan.total_steps // spec.keep_every if spec.keep_every else 0
    if spec.every.seconds is not None:
        return kept
    steps = (spec.every.epochs or 0) * plan.train.geometry.steps_per_epoch or spec.every.steps or 1
    made = -(-plan.total_steps // steps)
    if spec.best is not None:
        made += plan.validations_until(plan.total_steps)
    return min(kept, made)
