"""The final weights of a run as safetensors: readable without Ray, and without this project."""

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from orchestrator.checkpoint.files import storage_errors, sync, sync_tree, write_synced
from orchestrator.checkpoint.manifest import CheckpointInfo
from orchestrator.data.fitted import PREPROCESSING_FILE
from orchestrator.errors import CheckpointError
from orchestrator.export.manifest import EXPORT_FILE, SPEC_FILE, ExportManifest
from orchestrator.train.parts import PartState
from orchestrator.train.state import MODEL, read_parts

_log = logging.getLogger(__name__)


def export_model(checkpoint: CheckpointInfo, target: Path, *, job: Path) -> None:
    """Writes the weights of a verified checkpoint into a folder, replacing it as a whole.

    What its transforms were fitted to and the spec lie beside them: the model is of no use without.

    Args:
        job: the file with the spec of the run, in the run's directory.

    Raises:
        CheckpointError: the folder cannot be written; one that was there is as it was.
    """
    if _is_of(target, checkpoint):
        return
    old = target.with_name(f".{target.name}.old")
    with storage_errors("write", target), staged_export(checkpoint, target, job=job) as staged:
        if old.exists():  # what an export that was cut short has left
            shutil.rmtree(old)
        # Moved away and not deleted first: deleting a large model takes time to be killed in.
        if target.exists():
            target.rename(old)
        staged.rename(target)
        sync(target.parent)
        if old.exists():
            shutil.rmtree(old)


@contextmanager
def staged_export(checkpoint: CheckpointInfo, target: Path, *, job: Path) -> Iterator[Path]:
    """A folder beside the target with all that is exported, on the disk, to be renamed to it."""
    weights = _weights(checkpoint)
    staged = target.with_name(f".{target.name}.tmp")
    with storage_errors("write", target):
        if staged.exists():  # what an export that was cut short has left
            shutil.rmtree(staged)
        staged.mkdir()
        for part, tensors in weights.items():
            _save(tensors, staged / f"{part}.safetensors")
        if (fitted := checkpoint.path / PREPROCESSING_FILE).exists():
            shutil.copyfile(fitted, staged / PREPROCESSING_FILE)
        if job.exists():
            shutil.copyfile(job, staged / SPEC_FILE)
        manifest = ExportManifest(
            run=job.parent.name,
            checkpoint=checkpoint.name,
            checkpoint_digest=checkpoint.manifest.digest,
            step=checkpoint.manifest.step,
            weights=tuple(weights),
            metrics=checkpoint.manifest.metrics,
            versions=checkpoint.manifest.versions,
            files=sync_tree(staged),
        )
        write_synced(staged / EXPORT_FILE, manifest.to_text().encode())
        sync(staged)
    yield staged


def _weights(checkpoint: CheckpointInfo) -> dict[str, dict[str, torch.Tensor]]:
    """What is exported: the model; where an own loop has none of that name, whatever is weights."""
    parts = read_parts(checkpoint.path)
    wanted = {MODEL: parts[MODEL]} if MODEL in parts else parts
    weights = {
        # Cloned, because safetensors refuses tensors that share memory, as tied weights do.
        name: {key: value.clone().contiguous() for key, value in state.items()}
        for name, state in wanted.items()
        if _is_weights(state)
    }
    if not weights:
        _log.warning(
            "%s: no weights are exported: it holds neither a model nor any other part that is"
            " all tensors by name",
            checkpoint.name,
        )
    return weights


def _is_weights(state: PartState) -> bool:
    return bool(state) and all(isinstance(value, torch.Tensor) for value in state.values())


def _save(weights: dict[str, torch.Tensor], path: Path) -> None:
    try:
        save_file(weights, path, metadata={"format": "pt"})
    except SafetensorError as error:  # also what it makes of a full disk
        raise CheckpointError(f"cannot write {path}: {error}") from error


def _is_of(target: Path, checkpoint: CheckpointInfo) -> bool:
    """Whether a folder has what would be exported; its files are not read again."""
    try:
        content = json.loads((target / EXPORT_FILE).read_text())
        return bool(content["checkpoint_digest"] == checkpoint.manifest.digest)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return False  # not there, or only half: written again
