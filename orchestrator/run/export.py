"""The final weights of a run as safetensors: readable without Ray, and without this project."""

import json
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from orchestrator.checkpoint.files import storage_errors, sync, sync_tree
from orchestrator.checkpoint.manifest import CheckpointInfo
from orchestrator.data.fitted import PREPROCESSING_FILE
from orchestrator.errors import CheckpointError
from orchestrator.train.state import STATE_FILE

WEIGHTS_FILE, ORIGIN_FILE = "model.safetensors", "origin.json"


def export_model(checkpoint: CheckpointInfo, target: Path) -> None:
    """Writes the weights of a verified checkpoint into a folder, replacing it as a whole.

    What its transforms were fitted to lies beside them: the model is of no use without it.

    Raises:
        CheckpointError: the folder cannot be written; one that was there is as it was.
    """
    origin = {"checkpoint": checkpoint.name, "step": checkpoint.manifest.step}
    if _origin(target) == origin:
        return
    stored = torch.load(checkpoint.path / STATE_FILE, map_location="cpu", weights_only=True)
    # Cloned, because safetensors refuses tensors that share memory, as tied weights do.
    weights = {name: value.clone().contiguous() for name, value in stored["model"].items()}
    staged, old = target.with_name(f".{target.name}.tmp"), target.with_name(f".{target.name}.old")
    with storage_errors("write", target):
        # What an export that was cut short has left.
        for leftover in (staged, old):
            if leftover.exists():
                shutil.rmtree(leftover)
        staged.mkdir()
        _save(weights, staged / WEIGHTS_FILE)
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
