"""Which checkpoint of a run is exported, and where to; the run itself is only read."""

from dataclasses import dataclass
from pathlib import Path

from orchestrator.checkpoint.files import storage_errors, sync
from orchestrator.checkpoint.manifest import CheckpointInfo, DamagedError
from orchestrator.errors import CheckpointError
from orchestrator.run.directory import RunDirectory
from orchestrator.run.export import staged_export

_NEAREST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A checkpoint that verifies, and for each damaged one that was passed over, why."""

    checkpoint: CheckpointInfo
    passed_over: tuple[str, ...]


def choose(directory: RunDirectory, step: int | None) -> Choice:
    """The newest checkpoint of a run that verifies, or the one of a step.

    Nothing is set aside: a driver may be at work on the run.

    Raises:
        CheckpointError: there is none, or all are damaged.
    """
    store = directory.checkpoints
    there = store.committed()
    steps = sorted({info.manifest.step for info in there})
    chosen = [info for info in there if step in (None, info.manifest.step)]
    damaged: list[str] = []
    for info in chosen:
        try:
            store.verify(info)
        except DamagedError as error:
            damaged.append(f"{info.name}: {error}")
        else:
            return Choice(checkpoint=info, passed_over=tuple(damaged))
    if damaged:
        what = "no checkpoint" if step is None else f"the checkpoint of step {step}"
        verb = "can be trusted" if step is None else "cannot be trusted"
        raise CheckpointError(f"{what} of {directory.path.name} {verb}: {'; '.join(damaged)}")
    if step is None or not steps:
        raise CheckpointError(f"the run in {directory.path} has no checkpoint yet")
    near = sorted(sorted(steps, key=lambda other: abs(other - step))[:_NEAREST])
    raise CheckpointError(
        f"{directory.path.name} has no whole checkpoint of step {step}; the nearest are of"
        f" {', '.join(map(str, near))}"
    )


def export_to(checkpoint: CheckpointInfo, target: Path, *, job: Path) -> None:
    """Exports a checkpoint into a folder that is not there yet, all at once.

    Raises:
        CheckpointError: the folder is there, or cannot be written.
    """
    if target.exists() or target.is_symlink():
        raise CheckpointError(
            f"{target} exists already, and is not overwritten", hint="--out names another folder"
        )
    with storage_errors("write", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with staged_export(checkpoint, target, job=job) as staged:
            staged.rename(target)
            sync(target.parent)
