"""What runs in the preprocessing workers: windows in, one block a rank of each superblock out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from orchestrator.data.blame import RowsAtHand, with_blame
from orchestrator.data.codec import Columns, decode, encode
from orchestrator.data.fitted import FittedState
from orchestrator.data.parquet_read import read_pieces
from orchestrator.data.transforms import BoundTransform, apply_all, bind_transforms
from orchestrator.errors import DataError
from orchestrator.plan.geometry import Superblock
from orchestrator.plan.stream import StreamPlan

# The columns of a block. It has one row: a rank's share of a superblock, step after step.
SUPERBLOCK, RANK, PAYLOAD = "superblock", "rank", "rows"
# The column, inside the payload, with each row's number in the index.
ROW = "_row"
# A rank that has no row of an epoch's short last step still takes part in it, with these rows at
# weight zero; two, because batch normalisation refuses one.
STAND_IN_ROWS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class StageTask:
    """What a worker of one stage needs to know; it travels once to each worker."""

    stream: StreamPlan
    position: int
    root: Path
    workers: int
    superblocks: range
    fitted: tuple[FittedState, ...] = ()

    def bind(self) -> list[BoundTransform]:
        """The stage's transforms, ready to be called."""
        *earlier, stage = self.stream.stages[: self.position + 1]
        first = sum(len(before.transforms) for before in earlier)
        numbers = range(first, first + len(stage.transforms))
        return bind_transforms(self.stream, numbers, root=self.root, fitted=self.fitted)

    def apply(
        self,
        transforms: Sequence[BoundTransform],
        take: Callable[[slice], Columns],
        rows: NDArray[np.int64],
        epoch: int,
    ) -> Columns:
        """The rows after the stage's transforms.

        Args:
            take: columns of some of the rows, made anew, since a transform may write into them.
        """

        def work(part: slice) -> Columns:
            return apply_all(transforms, take(part), rows[part], epoch)

        at_hand = RowsAtHand(index=self.stream.index, root=self.root, rows=rows, epoch=epoch)
        return with_blame(work, at_hand)


class ReadStage:
    """Reads windows and applies the first transforms; constructed once in each worker."""

    def __init__(self, task: StageTask) -> None:
        self._task = task
        self._transforms = task.bind()
        self._order = task.stream.sample_order()
        self._first_window = task.stream.geometry.window_of(task.superblocks.start)

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> Iterator[pa.Table]:
        """Window numbers, counted from the start of the stream, to blocks in the stream's order."""
        for number in batch["id"]:
            yield from self._window(self._first_window + int(number))

    def _window(self, number: int) -> Iterator[pa.Table]:
        task, geometry = self._task, self._task.stream.geometry
        epoch, inside = divmod(number, geometry.windows_per_epoch)
        # The rows of a validation pass are the same every time, its random numbers too.
        order_epoch = epoch if task.stream.epochs_differ else 0
        window = self._order.window(order_epoch, inside)
        rows = self._order.row_numbers(window)
        source = read_pieces(task.stream.index, window.pieces)
        for name in geometry.superblocks_of_window(number):
            if name not in task.superblocks:
                continue
            superblock = geometry.superblock(name)
            places, cuts = _by_rank(task, superblock, window.start)
            picked = places if window.shuffle is None else window.shuffle[places]
            take = partial(_pick, source, picked)
            columns = task.apply(self._transforms, take, rows[places], order_epoch)
            yield from _blocks(superblock, columns, rows[places], cuts)


class MapStage:
    """Applies further transforms to blocks; constructed once in each worker."""

    def __init__(self, task: StageTask) -> None:
        self._task = task
        self._transforms = task.bind()

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        """A rank's block to a rank's block."""
        for superblock, rank, payload in open_block(block):
            rows = payload.pop(ROW).astype(np.int64)
            epoch = self._task.stream.geometry.superblock(superblock).epoch
            epoch = epoch if self._task.stream.epochs_differ else 0
            columns = self._task.apply(self._transforms, partial(_copy, payload), rows, epoch)
            yield _block(superblock, rank, columns, rows)


def open_block(block: pa.Table) -> Iterator[tuple[int, int, Columns]]:
    """(superblock, rank, columns) of each row of a block; the columns are views, not copies."""
    for index in range(block.num_rows):
        superblock = block[SUPERBLOCK][index].as_py()
        rank = block[RANK][index].as_py()
        yield superblock, rank, decode(block[PAYLOAD][index].as_buffer())


def _pick(source: Columns, picked: NDArray[np.int64], part: slice) -> Columns:
    return {name: column[picked[part]] for name, column in source.items()}


def _copy(source: Columns, part: slice) -> Columns:
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
    superblock: Superblock, columns: Columns, rows: NDArray[np.int64], cuts: list[int]
) -> Iterator[pa.Table]:
    start = 0
    for rank, stop in enumerate(cuts):
        part = {name: column[start:stop] for name, column in columns.items()}
        yield _block(superblock.number, rank, part, rows[start:stop])
        start = stop


def _block(superblock: int, rank: int, columns: Columns, rows: NDArray[np.int64]) -> pa.Table:
    if ROW in columns:
        raise DataError(f"the column name {ROW!r} is taken: each row's number travels under it")
    payload = encode({**columns, ROW: rows})
    # Built from the buffer itself: pa.array would copy the bytes once more.
    offsets = pa.py_buffer(np.array([0, payload.size], dtype=np.int64))
    cell = pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, payload])
    return pa.table({SUPERBLOCK: [superblock], RANK: [rank], PAYLOAD: cell})
