"""What runs in the preprocessing workers: windows in, one block a rank of each superblock out."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from orchestrator.data.blame import RowsAtHand, with_blame
from orchestrator.data.blocks import Share, gather_blocks, make_block, open_block, share_out
from orchestrator.data.codec import Column, Columns
from orchestrator.data.fitted import FittedState
from orchestrator.data.memory import keep_freed_memory
from orchestrator.data.transforms import BoundTransform, apply_all, bind_transforms, in_pieces
from orchestrator.data.transient import steady
from orchestrator.data.window_reader import WindowRows, window_reader
from orchestrator.plan.geometry import Superblock
from orchestrator.plan.open_epoch import OpenEpoch, windows_left
from orchestrator.plan.origins import Origins, Rows
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
        return with_blame(steady(work, at_hand) if self.stream.quarantines else work, at_hand)

    @property
    def _call_rows(self) -> int:
        """Rows of one call of the transforms: what stays in a core's cache while they work."""
        return max(_LEAST_CALL_ROWS, int(_CALL_BYTES / max(1.0, self.stream.bytes_per_row)))

    def epoch_of(self, superblock: int) -> int:
        """The epoch that the order and the random numbers of a superblock are those of."""
        # The rows of a validation pass are the same every time, its random numbers too.
        epoch = self.stream.geometry.superblock(superblock).epoch
        return epoch if self.stream.epochs_differ else 0


@dataclass(slots=True)
class Spent:
    """What a reader has spent so far: seconds on rows read and on rows worked on, bytes made."""

    read_rows: int = 0
    read_s: float = 0.0
    work_rows: int = 0
    work_s: float = 0.0
    made_bytes: int = 0

    def read(self, rows: int, seconds: float) -> None:
        self.read_rows += rows
        self.read_s += seconds

    def work(self, blocks: Sequence[pa.Table], rows: int, seconds: float) -> None:
        self.work_rows += rows
        self.work_s += seconds
        self.made_bytes += sum(block.nbytes for block in blocks)


class ReadStage:
    """Reads windows and applies the first transforms; constructed once in each worker."""

    def __init__(self, task: StageTask) -> None:
        keep_freed_memory()
        self._task = task
        self._transforms = task.bind()
        self._order = task.stream.sample_order()
        self._reader = window_reader(task.stream, root=task.root, fitted=task.fitted)
        self._windows = windows_left(task.stream.geometry, task.superblocks, task.open_epoch)
        self.spent = Spent()

    def __call__(self, batch: dict[str, Rows]) -> Iterator[pa.Table]:
        """Window numbers, counted from the start of the stream, to blocks in the stream's order."""
        for number in batch["id"]:
            yield from self._window(int(self._windows[number]))

    def _window(self, number: int) -> Iterator[pa.Table]:
        task, geometry = self._task, self._task.stream.geometry
        names = geometry.superblocks_of_window(number)
        epoch = task.epoch_of(names.start)
        began = time.perf_counter()
        window = self._order.window(epoch, number % geometry.windows_per_epoch)
        read = self._reader.read(window)
        left = [geometry.superblock(name) for name in names if task.is_left(name)]
        parts = [_by_rank(task, superblock, window.start) for superblock in left]
        picked = read.arranged[np.concatenate([places for places, _ in parts])]
        order: Rows | None = None
        if task.stream.transforms_first:
            all_left = len(left) == len(names)
            source, origins, order = self._transformed(read, picked, epoch, all_left=all_left)
        else:
            source, origins = _picked(read, picked), read.origins.take(picked)
        self.spent.read(len(origins), time.perf_counter() - began)
        stop = 0
        for superblock, (places, cuts) in zip(left, parts, strict=True):
            began = time.perf_counter()
            start, stop = stop, stop + len(places)
            if order is not None:
                part = order[start:stop]
                columns, found = _taken(source, part), origins.take(part)
            else:
                found = origins.take(slice(start, stop))
                take = partial(_copy, source, start)
                columns = task.apply(self._transforms, take, found, epoch)
            blocks = list(_blocks(superblock, columns, found, cuts))
            self.spent.work(blocks, len(places), time.perf_counter() - began)
            yield from [gather_blocks(blocks)] if task.gathers else blocks

    def _transformed(
        self, read: WindowRows, picked: Rows, epoch: int, *, all_left: bool
    ) -> tuple[Columns, Origins, Rows]:
        """The picked rows after the transforms, as they were read, and their places in these."""
        source, origins, places = read.columns, read.origins, picked
        if not all_left:
            needed, places = np.unique(picked, return_inverse=True)
            source, origins = _picked(read, needed), origins.take(needed)
        take = partial(_copy, source, 0)
        return self._task.apply(self._transforms, take, origins, epoch), origins, places


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


def _picked(read: WindowRows, picked: Rows) -> Columns:
    """The picked rows of a window, whose own columns are let go one by one.

    A column at a time, so that it stays in the cache while its rows are picked at random.
    """
    return {name: _take(read.columns.pop(name), picked) for name in list(read.columns)}


def _taken(source: Columns, picked: Rows) -> Columns:
    return {name: _take(column, picked) for name, column in source.items()}


def _take(column: Column, picked: Rows) -> Column:
    # The places are ours: no need to check each once more.
    return column.take(picked, axis=0, mode="clip")


def _copy(source: Columns, start: int, part: slice) -> Columns:
    """Rows of a part that is counted from `start` on."""
    part = slice(start + part.start, start + part.stop)
    return {name: column[part].copy() for name, column in source.items()}


def _by_rank(task: StageTask, superblock: Superblock, window_start: int) -> tuple[Rows, list[int]]:
    """Places in the window of the superblock's rows, rank after rank, and where each rank ends."""
    geometry = task.stream.geometry
    stand_in = np.full(STAND_IN_ROWS, superblock.first_step * geometry.batch - window_start)
    spans: list[Rows] = []
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
