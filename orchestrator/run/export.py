"""The final weights of a run as safetensors: readable without Ray, and without this project."""

import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from orchestrator.checkpoint.files import storage_errors, sync_tree
from orchestrator.checkpoint.manifest import CheckpointInfo
from orchestrator.train.state import STATE_FILE

WEIGHTS_FILE, ORIGIN_FILE = "model.safetensors", "origin.json"


def export_model(checkpoint: CheckpointInfo, target: Path) -> None:
    """Writes the weights of a verified checkpoint into a folder, replacing it as a whole."""
    origin = {"checkpoint": checkpoint.name, "step": checkpoint.manifest.step}
    if _origin(target) == origin:
        return
    stored = torch.load(checkpoint.path / STATE_FILE, map_location="cpu", weights_only=True)
    # Cloned, because safetensors refuses tensors that share memory, as tied weights do.
    weights = {name: value.clone().contiguous() for name, value in stored["model"].items()}
    staged = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with storage_errors("write", target):
        staged.mkdir()
        save_file(weights, staged / WEIGHTS_FILE, metadata={"format": "pt"})
        (staged / ORIGIN_FILE).write_text(json.dumps(origin, indent=1))
        sync_tree(staged)
        if target.exists():
            shutil.rmtree(target)
        staged.rename(target)


def _origin(target: Path) -> object:
    path = target / ORIGIN_FILE
    return json.loads(path.read_text()) if path.exists() else None
