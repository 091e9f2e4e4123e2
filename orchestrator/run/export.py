"""The final weights of a run as safetensors: readable without Ray, and without this project."""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from orchestrator.checkpoint.files import storage_errors, sync, sync_tree
from orchestrator.checkpoint.manifest import CheckpointInfo
from orchestrator.data.fitted import PREPROCESSING_FILE
from orchestrator.errors import CheckpointError
from orchestrator.train.parts import PartState
from orchestrator.train.state import MODEL, STATE_FILE, read_stored

ORIGIN_FILE = "origin.json"

_log = logging.getLogger(__name__)


def export_model(checkpoint: CheckpointInfo, target: Path) -> None:
    """Writes the weights of a verified checkpoint into a folder, replacing it as a whole.

    What its transforms were fitted to lies beside them: the model is of no use without it.

    Raises:
        CheckpointError: the folder cannot be written; one that was there is as it was.
    """
    origin = {"checkpoint": checkpoint.name, "step": checkpoint.manifest.step}
    if _origin(target) == origin:
        return
    weights = _weights(read_stored(checkpoint.path / STATE_FILE)["parts"])
    if not weights:
        _log.warning(
            "%s: no weights are exported: the loop restores neither a model nor any other part"
            " that is all tensors by name",
            checkpoint.name,
        )
    staged, old = target.with_name(f".{target.name}.tmp"), target.with_name(f".{target.name}.old")
    with storage_errors("write", target):
        # What an export that was cut short has left.
        for leftover in (staged, old):
            if leftover.exists():
                shutil.rmtree(leftover)
        staged.mkdir()
        for part, tensors in weights.items():
            _save(tensors, staged / f"{part}.safetensors")
        if (fitted := checkpoint.path / PREPROCESSING_FILE).exists():
            shutil.copyfile(fitted, staged / PREPROCESSING_FILE)
        (staged / ORIGIN_FILE).write_text(json.dumps(origin, indent=1))
        sync_tree(staged)
        # Moved away and not deleted first: deleting a large model takes time to be killed in.
        if target.exists():
            target.rename(old)
        staged.rename(target)
        sync(target.parent)
        if old.exists():
            shutil.rmtree(old)


def _weights(parts: Mapping[str, PartState]) -> dict[str, dict[str, torch.Tensor]]:
    """What is exported: the model; where an own loop has none of that name, whatever is weights."""
    wanted = {MODEL: parts[MODEL]} if MODEL in parts else parts
    return {
        # Cloned, because safetensors refuses tensors that share memory, as tied weights do.
        name: {key: value.clone().contiguous() for key, value in state.items()}
        for name, state in wanted.items()
        if _is_weights(state)
    }


def _is_weights(state: PartState) -> bool:
    return bool(state) and all(isinstance(value, torch.Tensor) for value in state.values())


def _save(weights: dict[str, torch.Tensor], path: Path) -> None:
    try:
        save_file(weights, path, metadata={"format": "pt"})
    except SafetensorError as error:  # also what it makes of a full disk
        raise CheckpointError(f"cannot write {path}: {error}") from error


def _origin(target: Path) -> object:
    try:
        return json.loads((target / ORIGIN_FILE).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None  # not there, or only half: written again
