"""Everything that a restart must bring back, as one file of a checkpoint."""

import io
import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict, cast

import torch
from torch import Tensor

from orchestrator.checkpoint.files import storage_errors
from orchestrator.checkpoint.manifest import SHARDS
from orchestrator.checkpoint.open_epoch import write_open_epoch
from orchestrator.errors import CheckpointError
from orchestrator.plan.open_epoch import OpenEpoch
from orchestrator.train.host_memory import HostMemory
from orchestrator.train.parts import Part, PartState
from orchestrator.train.shard_reader import read_whole
from orchestrator.train.shards import Shards, check_tensors
from orchestrator.train.totals import Totals

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STATE_FILE = "state.pt"
# The name of the part whose weights a run exports.
MODEL = "model"


@dataclass(frozen=True, kw_only=True, slots=True)
class SafeSize:
    """Rows of a micro-batch that memory suffices for, where the spec had asked for `asked`."""

    asked: int | None
    rows: int


class StoredState(TypedDict):
    """What the file holds."""

    # Of a sharded state, which lies in a folder beside the file, there are none here.
    parts: dict[str, PartState]
    step: int
    rows: int
    interval_names: list[str]
    interval_sums: Tensor
    # (asked, rows) of a SafeSize.
    safe_size: NotRequired[tuple[int | None, int]]


@dataclass(kw_only=True, slots=True)
class TrainState:
    """The state of a run after `step` steps: its parts by name, such as "model" and "optimizer".

    There is no state of random generators: every step seeds them from (seed, step, lane), so the
    seed and the step are all of it. The schedule of a task, too, is a function of the step.
    `interval` holds the sums since the last report, on `device`, so that the report after a restart
    is that of an undisturbed run. `safe_size` is there where memory has run out. `open_epoch` says
    which steps of the epoch are done, where these are not just its first ones; the driver reads it
    too, so it is a file of its own. `shards` is there where each rank holds a piece of the parts:
    all ranks then have to call `snapshot`, `read` and `spoilt`.
    """

    device: torch.device
    parts: dict[str, Part] = field(default_factory=dict)
    step: int = 0
    rows: int = 0
    interval: Totals | None = None
    open_epoch: OpenEpoch | None = None
    safe_size: SafeSize | None = None
    shards: Shards | None = None

    def snapshot(self, memory: HostMemory) -> "Snapshot":
        """The state as it is now, which the steps to come do not change.

        Args:
            memory: where it is copied to; good until the next one is.
        """
        interval = self.interval
        live = StoredState(
            parts={name: part.state() for name, part in self.parts.items()},
            step=self.step,
            rows=self.rows,
            interval_names=list(interval.names) if interval else [],
            interval_sums=interval.sums if interval else torch.zeros(0),
        )
        if self.safe_size is not None:
            live["safe_size"] = (self.safe_size.asked, self.safe_size.rows)
        stored, arrived = memory.copy(live)
        return Snapshot(
            stored=stored, open_epoch=self.open_epoch, arrived=arrived, shards=self.shards
        )

    def write(self, directory: Path) -> None:
        """Writes the state into a checkpoint's directory."""
        self.snapshot(HostMemory()).write(directory)

    def loss_is_finite(self) -> bool:
        """Whether all losses since the last report are numbers; waits for the device."""
        return self.interval is None or math.isfinite(self.interval.means()["loss"])

    def spoilt(self) -> str | None:
        """What has become infinite or not a number, if there is something.

        A step can spoil the weights while its own loss is still finite.
        """
        spoilt = self._spoilt_here()
        return spoilt if self.shards is None else self.shards.any(spoilt)

    def _spoilt_here(self) -> str | None:
        for name, part in self.parts.items():
            if (weight := part.spoilt()) is not None:
                return f"the weight {weight}" if name == MODEL else f"the weight {weight} of {name}"
        return None

    def read(self, directory: Path) -> None:
        """Loads the state from a checkpoint whose files have been verified.

        Raises:
            CheckpointError: it is no state, or belongs to another model, optimizer or loop.
        """
        path = directory / STATE_FILE
        stored = read_stored(path)
        parts = self._read_parts(path, stored)
        for name, part in self.parts.items():
            try:
                part.load(parts[name])
            except (RuntimeError, ValueError, KeyError) as error:
                raise CheckpointError(
                    f"{path} does not fit the {name} of this code: {error}",
                    hint="the code or its parameters changed since the checkpoint was written",
                ) from error
        self.step, self.rows = stored["step"], stored["rows"]
        names = tuple(stored["interval_names"])
        sums = stored["interval_sums"].to(self.device)
        self.interval = Totals(names=names, sums=sums) if names else None
        if (safe := stored.get("safe_size")) is not None:
            self.safe_size = SafeSize(asked=safe[0], rows=safe[1])

    def _read_parts(self, path: Path, stored: StoredState) -> Mapping[str, PartState]:
        sharded = (path.parent / SHARDS).exists()
        if sharded != (self.shards is not None):
            there, here = ("fsdp", "ddp") if sharded else ("ddp", "fsdp")
            raise CheckpointError(
                f"{path.parent} was written with training.strategy: {there}, and this is {here}",
                hint=f"go on with {there}, or begin a new run",
            )
        if self.shards is None:
            _check_names(path, stored["parts"], self.parts)
            return stored["parts"]
        parts = {name: part.state() for name, part in self.parts.items()}
        self.shards.read(parts, path.parent)
        return parts


@dataclass(kw_only=True, slots=True)
class Snapshot:
    """A state in host memory; `arrived` is called before it is read.

    With `shards`, each rank has its own pieces: the first one calls `write` and then, whatever came
    of it, `close`; the others call `follow`.
    """

    stored: StoredState
    open_epoch: OpenEpoch | None
    arrived: Callable[[], None]
    shards: Shards | None = None
    _led: bool = False

    @property
    def step(self) -> int:
        """Steps of the whole run that it has."""
        return self.stored["step"]

    def write(self, directory: Path) -> None:
        """Writes it into a checkpoint's directory; any thread may."""
        self.arrived()
        stored = self.stored
        if self.shards is not None:
            check_tensors(stored["parts"])
            self._led = True
            self.shards.lead(stored["parts"], directory)
            stored = StoredState({**stored, "parts": {}})
        with _StateFile(directory / STATE_FILE, "wb") as file:
            try:
                # Not through memory: it would hold up the training, which shares the interpreter.
                torch.save(stored, file)
            except RuntimeError as error:
                if file.failure is None:
                    raise
                raise file.failure from error
        if self.open_epoch is not None:
            write_open_epoch(directory, self.open_epoch)

    def close(self) -> None:
        """Lets the ranks that follow go on, where nothing came to be written."""
        if self.shards is not None and not self._led:
            self._led = True
            self.shards.abandon()

    def follow(self) -> None:
        """Writes this rank's pieces to where the first one writes its own; any thread may."""
        assert self.shards is not None
        self.arrived()
        self.shards.follow(self.stored["parts"])


class _StateFile(io.FileIO):
    """Remembers why a write failed: torch says only at which byte."""

    failure: OSError | None = None

    def write(self, data: "ReadableBuffer", /) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            # The system may take less than it is given.
            while left:
                left = left[super().write(left) :]
        except OSError as error:
            self.failure = error
            raise
        return size


def read_stored(path: Path) -> StoredState:
    """The content of a state's file, on the CPU.

    Raises:
        CheckpointError: it is no state, or cannot be read.
    """
    try:
        with storage_errors("read", path):
            # weights_only: a checkpoint is data, and must not be able to run code.
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        (first, *_) = str(error).splitlines() or [""]
        raise CheckpointError(f"{path} holds no state of a run: {first}") from error
    if not isinstance(stored, dict) or (missing := StoredState.__required_keys__ - stored.keys()):
        what = f"lacks {', '.join(sorted(missing))}" if isinstance(stored, dict) else "is no dict"
        raise CheckpointError(f"{path} holds no state of a run: it {what}")
    return cast("StoredState", stored)


def read_parts(directory: Path) -> dict[str, PartState]:
    """The parts of a state, whole and on the CPU, whichever way it was written.

    Raises:
        CheckpointError: it is no state, or cannot be read.
    """
    if (directory / SHARDS).exists():
        return read_whole(directory / SHARDS)
    return read_stored(directory / STATE_FILE)["parts"]


def _check_names(path: Path, stored: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    if stored.keys() != wanted.keys():
        raise CheckpointError(
            f"{path} holds {', '.join(stored) or 'nothing'}, but this code restores"
            f" {', '.join(wanted) or 'nothing'}",
            hint="the code changed since the checkpoint was written",
        )
