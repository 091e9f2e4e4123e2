"""What runs in the preprocessing workers: windows in, one block a rank of each superblock out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from orchestrator.data.blame import RowsAtHand, with_blame
from orchestrator.data.blocks import Share, gather_blocks, make_block, open_block, share_out
from orchestrator.data.codec import Columns
from orchestrator.data.fitted import FittedState
from orchestrator.data.memory import keep_freed_memory
from orchestrator.data.transforms import BoundTransform, apply_all, bind_transforms, in_pieces
from orchestrator.data.window_reader import WindowRows, window_reader
from orchestrator.plan.geometry import Superblock
from orchestrator.plan.open_epoch import OpenEpoch, windows_left
from orchestrator.plan.origins import Origins
from orchestrator.plan.stream import StreamPlan

# A rank that has no row of an epoch's short last step still takes part in it, with these rows at
# weight zero; two, because batch normalisation refuses one.
STAND_IN_ROWS = 2
# Bytes of the source columns that the transforms get at once. Measured on a table of 37 columns:
# whole superblocks, which no cache holds, take 1.4 times as long.
_CALL_BYTES = 2 << 20
_LEAST_CALL_ROWS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class StageTask:
    """What a worker of one stage needs to know; it travels once to each worker."""

    stream: StreamPlan
    position: int
    root: Path
    workers: int
    superblocks: range
    open_epoch: OpenEpoch | None = None
    fitted: tuple[FittedState, ...] = ()

    @property
    def gathers(self) -> bool:
        """Whether the blocks of a superblock travel as one, until they are shared out."""
        return self.stream.relaxed and self.workers > 1

    def is_left(self, superblock: int) -> bool:
        """Whether a superblock belongs to the stream, and is not done."""
        if superblock not in self.superblocks:
            return False
        done = self.open_epoch
        return done is None or not done.has(self.stream.geometry.superblock(superblock))

    def bind(self) -> list[BoundTransform]:
        """The stage's transforms, ready to be called."""
        *earlier, stage = self.stream.stages[: self.position + 1]
        first = sum(len(before.transforms) for before in earlier)
        # Those that change the number of rows have been applied while reading.
        done = self.stream.counting.transforms if self.stream.counting else 0
        numbers = range(max(first, done), first + len(stage.transforms))
        return bind_transforms(self.stream, numbers, root=self.root, fitted=self.fitted)

    def apply(
        self,
        transforms: Sequence[BoundTransform],
        take: Callable[[slice], Columns],
        origins: Origins,
        epoch: int,
    ) -> Columns:
        """The samples after the stage's transforms.

        Args:
            take: columns of some of them, made anew, since a transform may write into them.
        """

        def call(part: slice) -> Columns:
            return apply_all(transforms, take(part), origins.take(part), epoch)

        def work(part: slice) -> Columns:
            return in_pieces(call, part, rows=self._call_rows, name=transforms[-1].name)

        if not transforms:
            return take(slice(0, len(origins)))
        at_hand = RowsAtHand(
            index=self.stream.index, root=self.root, rows=origins.rows, epoch=epoch
        )
        return with_blame(work, at_hand)

    @property
    def _call_rows(self) -> int:
        """Rows of one call of the transforms: what stays in a core's cache while they work."""
        return max(_LEAST_CALL_ROWS, int(_CALL_BYTES / max(1.0, self.stream.bytes_per_row)))

    def epoch_of(self, superblock: int) -> int:
        """The epoch that the order and the random numbers of a superblock are those of."""
        # The rows of a validation pass are the same every time, its random numbers too.
        epoch = self.stream.geometry.superblock(superblock).epoch
        return epoch if self.stream.epochs_differ else 0


class ReadStage:
    """Reads windows and applies the first transforms; constructed once in each worker."""

    def __init__(self, task: StageTask) -> None:
        keep_freed_memory()
        self._task = task
        self._transforms = task.bind()
        self._order = task.stream.sample_order()
        self._reader = window_reader(task.stream, root=task.root, fitted=task.fitted)
        self._windows = windows_left(task.stream.geometry, task.superblocks, task.open_epoch)

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> Iterator[pa.Table]:
        """Window numbers, counted from the start of the stream, to blocks in the stream's order."""
        for number in batch["id"]:
            yield from self._window(int(self._windows[number]))

    def _window(self, number: int) -> Iterator[pa.Table]:
        task, geometry = self._task, self._task.stream.geometry
        names = geometry.superblocks_of_window(number)
        epoch = task.epoch_of(names.start)
        window = self._order.window(epoch, number % geometry.windows_per_epoch)
        read = self._reader.read(window)
        left = [geometry.superblock(name) for name in names if task.is_left(name)]
        parts = [_by_rank(task, superblock, window.start) for superblock in left]
        picked = read.arranged[np.concatenate([places for places, _ in parts])]
        source, origins, stop = _picked(read, picked), read.origins.take(picked), 0
        for superblock, (places, cuts) in zip(left, parts, strict=True):
            start, stop = stop, stop + len(places)
            found = origins.take(slice(start, stop))
            take = partial(_copy, source, start)
            columns = task.apply(self._transforms, take, found, epoch)
            blocks = _blocks(superblock, columns, found, cuts)
            yield from [gather_blocks(list(blocks))] if task.gathers else blocks


class MapStage:
    """Applies further transforms to blocks; constructed once in each worker."""

    def __init__(self, task: StageTask) -> None:
        keep_freed_memory()
        self._task = task
        self._transforms = task.bind()

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        """A rank's block to a rank's block, or all of a superblock's ranks' at once."""
        if self._task.gathers:
            yield gather_blocks([self._apply(each) for each in share_out(block)])
        else:
            yield self._apply(block)

    def _apply(self, block: pa.Table) -> pa.Table:
        (share,) = open_block(block)
        columns = self._task.apply(
            self._transforms,
            partial(_copy, share.columns, 0),
            share.origins,
            self._task.epoch_of(share.superblock),
        )
        return make_block(replace(share, columns=columns))


class ShareStage:
    """Shares out the superblocks of a relaxed stream, one after another; there is one worker."""

    def __init__(self, task: StageTask) -> None:
        del task  # All there is to know is in the blocks.

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        """A superblock to one block a rank, the first rank first."""
        return share_out(block)


def _picked(read: WindowRows, picked: NDArray[np.int64]) -> Columns:
    """The picked rows of a window, whose own columns are let go one by one.

    A column at a time, so that it stays in the cache while its rows are picked at random.
    """
    # The places are ours: no need to check each once more.
    return {
        name: read.columns.pop(name).take(picked, axis=0, mode="clip")
        for name in list(read.columns)
    }


def _copy(source: Columns, start: int, part: slice) -> Columns:
    """Rows of a part that is counted from `start` on."""
    part = slice(start + part.start, start + part.stop)
    return {name: column[part].copy() for name, column in source.items()}


def _by_rank(
    task: StageTask, superblock: Superblock, window_start: int
) -> tuple[NDArray[np.int64], list[int]]:
    """Places in the window of the superblock's rows, rank after rank, and where each rank ends."""
    geometry = task.stream.geometry
    stand_in = np.full(STAND_IN_ROWS, superblock.first_step * geometry.batch - window_start)
    spans: list[NDArray[np.int64]] = []
    cuts, total = [], 0
    for rank in range(task.workers):
        for step in range(superblock.first_step, superblock.first_step + superblock.steps):
            start, stop = geometry.rank_span(step, rank, task.workers)
            span = np.arange(start, stop) - window_start if stop > start else stand_in
            spans.append(span)
            total += len(span)
        cuts.append(total)
    return np.concatenate(spans), cuts


def _blocks(
    superblock: Superblock, columns: Columns, origins: Origins, cuts: list[int]
) -> Iterator[pa.Table]:
    start = 0
    for rank, stop in enumerate(cuts):
        part = {name: column[start:stop] for name, column in columns.items()}
        yield make_block(
            Share(
                superblock=superblock.number,
                rank=rank,
                columns=part,
                origins=origins.take(slice(start, stop)),
            )
        )
        start = stop
