"""Reads sharded checkpoints, of which the directory is a pickle, without running what is in it."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load

from orchestrator.checkpoint.files import storage_errors
from orchestrator.errors import CheckpointError
from orchestrator.train.parts import PartState

_METADATA = "torch.distributed.checkpoint.metadata"
# What the directory of tensors consists of, besides the types of their numbers.
_HARMLESS = {
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("pathlib", "PosixPath"),
    ("pathlib._local", "PosixPath"),
    ("torch", "Size"),
    ("torch.serialization", "_get_layout"),
    (_METADATA, "ChunkStorageMetadata"),
    (_METADATA, "Metadata"),
    (_METADATA, "MetadataIndex"),
    (_METADATA, "StorageMeta"),
    (_METADATA, "TensorProperties"),
    (_METADATA, "TensorStorageMetadata"),
    (_METADATA, "_MEM_FORMAT_ENCODING"),
}


class ShardReader(FileSystemReader):
    """Torch's reader, which takes nothing from the directory but names, shapes and places."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """The directory: which tensors there are, and in which files.

        Raises:
            CheckpointError: it holds something else, or cannot be read.
        """
        path = Path(self.path) / ".metadata"
        try:
            with storage_errors("read", path), path.open("rb") as file:
                metadata = _Unpickler(file).load()
        except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, ValueError) as error:
            raise CheckpointError(f"{path} is no directory of tensors: {error}") from error
        if not isinstance(metadata, Metadata):
            raise CheckpointError(f"{path} is no directory of tensors")
        for name, entry in metadata.state_dict_metadata.items():
            # Torch would unpickle it, whatever it is.
            if not isinstance(entry, TensorStorageMetadata):
                raise CheckpointError(f"{path}: {name} is no tensor")
        metadata.storage_meta = metadata.storage_meta or StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata


def read_whole(folder: Path) -> dict[str, PartState]:
    """All parts of a verified sharded checkpoint with their whole tensors, on the CPU.

    No process group is needed, and memory for all of them.

    Raises:
        CheckpointError: they cannot be read.
    """
    reader = ShardReader(folder)
    metadata = reader.read_metadata()
    parts: dict[str, PartState] = {}
    for name, entry in metadata.state_dict_metadata.items():
        assert isinstance(entry, TensorStorageMetadata)  # the reader has seen to it
        *above, last = (metadata.planner_data or {})[name]
        inner: dict[str, Any] = parts
        for key in above:
            inner = inner.setdefault(key, {})
        inner[last] = torch.empty(entry.size, dtype=entry.properties.dtype)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            load(dict(parts), storage_reader=reader, no_dist=True)
    except CheckpointException as error:
        (cause, _) = next(iter(error.failures.values()))
        raise CheckpointError(f"cannot read {folder}: {cause}") from error
    return parts


def flat(parts: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Every value of nested dicts, by the names to it with dots between, as torch names them."""
    found: dict[str, object] = {}
    for name, value in parts.items():
        if isinstance(value, Mapping) and value:
            found.update(flat(value, f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = value
    return found


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) in _HARMLESS or (
            module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        ):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in it")
