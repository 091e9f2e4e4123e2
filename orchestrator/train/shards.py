"""The files of a checkpoint where each rank holds a piece of the state, and writes just that."""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar, cast

import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from orchestrator.checkpoint.files import storage_errors
from orchestrator.checkpoint.manifest import SHARDS
from orchestrator.errors import CheckpointError
from orchestrator.train.parts import PartState
from orchestrator.train.shard_reader import ShardReader, flat

T = TypeVar("T")

# Longer than a write of a large piece may take; a rank that died ends the wait at once.
_WAIT = datetime.timedelta(minutes=30)


class Shards:
    """Writes and reads the pieces of all ranks with `torch.distributed.checkpoint`.

    Every rank makes one, and each makes the same calls: for one save, the first rank calls `lead`
    (or, if it does not come to that, `abandon`) where the others call `follow`. These may go on in
    a thread behind the training, one save at a time; the other methods belong to the training's.
    """

    def __init__(self) -> None:
        self._asking = dist.new_group(backend="gloo")
        # Apart: what a thread waits for must not get between the training's own calls.
        self._writing = dist.new_group(backend="gloo", timeout=_WAIT)

    def of_first_rank(self, value: T) -> T:
        """The first rank's value, on all ranks."""
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self._asking)
        return box[0]

    def any(self, value: T | None) -> T | None:
        """What the first rank that has something has, on all ranks."""
        every: list[T | None] = [None] * dist.get_world_size()
        dist.all_gather_object(every, value, group=self._asking)
        return next((found for found in every if found is not None), None)

    def lead(self, parts: Mapping[str, PartState], directory: Path) -> None:
        """Has all ranks write their pieces into a directory, and waits for them.

        Raises:
            CheckpointError: a rank could not write.
        """
        self._tell(str(directory))
        self._write(parts, directory)

    def abandon(self) -> None:
        """Tells the ranks that follow that nothing is to be written."""
        self._tell(None)

    def follow(self, parts: Mapping[str, PartState]) -> None:
        """Writes this rank's pieces to where the first one says.

        Raises:
            CheckpointError: a rank could not write.
        """
        box: list[str | None] = [None]
        dist.broadcast_object_list(box, src=0, group=self._writing)
        if box[0] is not None:
            self._write(parts, Path(box[0]))

    def read(self, parts: Mapping[str, PartState], directory: Path) -> None:
        """Reads this rank's pieces of a verified checkpoint into those given, in their place.

        Raises:
            CheckpointError: they belong to another model or optimizer, or cannot be read.
        """
        folder = directory / SHARDS
        reader = ShardReader(folder)
        _check_fit(reader.read_metadata(), parts, folder)
        try:
            load(dict(parts), storage_reader=reader, process_group=self._asking)
        except CheckpointException as error:
            raise _told("read", folder, error) from error

    def _tell(self, directory: str | None) -> None:
        dist.broadcast_object_list([directory], src=0, group=self._writing)

    def _write(self, parts: Mapping[str, PartState], directory: Path) -> None:
        folder = directory / SHARDS
        try:
            save(
                dict(parts),
                storage_writer=FileSystemWriter(folder),
                process_group=self._writing,
            )
        except CheckpointException as error:
            raise _told("write", folder, error) from error


def check_tensors(parts: Mapping[str, PartState]) -> None:
    """Raises CheckpointError where a state has something besides tensors: it would be pickled."""
    for name, value in flat(parts).items():
        if not isinstance(value, Tensor):
            raise CheckpointError(
                f"{name} is a {type(value).__name__}, and a sharded checkpoint holds tensors only",
                hint="training.strategy: ddp keeps numbers and text, too",
            )


def _check_fit(metadata: Metadata, parts: Mapping[str, PartState], folder: Path) -> None:
    stored = metadata.state_dict_metadata
    wanted = cast("dict[str, Tensor]", flat(parts))
    hint = "the code or its parameters changed since the checkpoint was written"
    if missing := sorted(wanted.keys() - stored.keys()):
        raise CheckpointError(f"{folder} does not fit this code: it lacks {missing[0]}", hint=hint)
    if more := sorted(stored.keys() - wanted.keys()):
        raise CheckpointError(
            f"{folder} does not fit this code: it has {more[0]}, which the code has not", hint=hint
        )
    for name, value in wanted.items():
        found = stored[name]
        shape = list(found.size) if isinstance(found, TensorStorageMetadata) else None
        if shape != list(value.shape):
            raise CheckpointError(
                f"{folder} does not fit this code: {name} has the shape {shape},"
                f" wanted {list(value.shape)}",
                hint=hint,
            )


def _told(what: str, folder: Path, error: CheckpointException) -> CheckpointError:
    """The first rank's failure, with its reason; as an OSError says it where it is one."""
    rank, (cause, _) = next(iter(error.failures.items()))
    try:
        with storage_errors(what, folder):
            raise cause
    except CheckpointError as told:
        return CheckpointError(f"worker {rank}: {told}", hint=told.hint)
    except Exception:  # noqa: BLE001  # any other cause is told just below
        return CheckpointError(f"worker {rank} cannot {what} {folder}: {cause}")
