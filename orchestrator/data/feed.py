"""A worker's side of a stream: blocks in, its share of each global batch out, as views."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from orchestrator.data.codec import Columns
from orchestrator.data.reader import ROW, STAND_IN_ROWS, open_block
from orchestrator.errors import DataError
from orchestrator.plan.geometry import Cursor, StreamGeometry, Superblock


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalBatch:
    """A rank's share of one global batch.

    `rows` are the numbers of its rows; `columns` has one entry for each, or, where the rank has no
    row of a short last batch, stand-ins that must count for nothing. `global_rows` is the number of
    rows of the whole batch over all ranks, `lane` the first lane of this rank.
    """

    epoch: int
    step: int
    lane: int
    rows: NDArray[np.int64]
    global_rows: int
    columns: Columns


class Feed:
    """Steps of a stream for one rank, from a cursor to the end, checked for continuity.

    Args:
        blocks: the rank's blocks as Ray delivers them, each a table of one row.
        first: the step to begin with; the stream begins with the superblock that holds it.
        last_superblock: the superblock after the stream's last.
    """

    def __init__(
        self,
        blocks: Iterable[pa.Table],
        geometry: StreamGeometry,
        *,
        rank: int,
        workers: int,
        first: Cursor,
        last_superblock: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._blocks = iter(blocks)
        self._geometry = geometry
        self._rank = rank
        self._workers = workers
        self._first = first
        self._last_superblock = last_superblock
        self._clock = clock
        self.wait_s = 0.0
        """Seconds spent waiting for blocks so far."""
        self.waiting_since: float | None = None
        """When the wait that is under way began, by the clock; None outside of one."""

    def __iter__(self) -> Iterator[LocalBatch]:
        geometry = self._geometry
        for number in range(geometry.superblock_of(self._first), self._last_superblock):
            superblock = geometry.superblock(number)
            columns = self._next_block(superblock)
            offset = 0
            for step in range(superblock.first_step, superblock.first_step + superblock.steps):
                size = self._rows_of(step)
                if (superblock.epoch, step) >= (self._first.epoch, self._first.step):
                    yield self._share(superblock.epoch, step, columns, offset)
                offset += size or STAND_IN_ROWS

    def _next_block(self, superblock: Superblock) -> Columns:
        self.waiting_since = began = self._clock()
        table = next(self._blocks, None)
        self.waiting_since = None
        self.wait_s += self._clock() - began
        wanted = f"superblock {superblock.number} for rank {self._rank}"
        if table is None:
            raise DataError(f"the stream ended before {wanted}: rows would be lost")
        if table.num_rows != 1:
            raise DataError(f"the block of {wanted} holds {table.num_rows} cells instead of one")
        ((number, rank, columns),) = open_block(table)
        if (number, rank) != (superblock.number, self._rank):
            raise DataError(
                f"the stream is out of order: got superblock {number} for rank {rank},"
                f" wanted {wanted}"
            )
        steps = range(superblock.first_step, superblock.first_step + superblock.steps)
        expected = sum(self._rows_of(step) or STAND_IN_ROWS for step in steps)
        if len(columns[ROW]) != expected:
            raise DataError(f"{wanted} holds {len(columns[ROW])} rows instead of {expected}")
        return columns

    def _rows_of(self, step: int) -> int:
        start, stop = self._geometry.rank_span(step, self._rank, self._workers)
        return stop - start

    def _share(self, epoch: int, step: int, columns: Columns, offset: int) -> LocalBatch:
        size = self._rows_of(step)
        part = {
            name: column[offset : offset + (size or STAND_IN_ROWS)]
            for name, column in columns.items()
        }
        rows = part.pop(ROW).astype(np.int64, copy=False)
        return LocalBatch(
            epoch=epoch,
            step=step,
            lane=self._geometry.lanes_of(self._rank, self._workers).start,
            rows=rows[:size],
            global_rows=self._geometry.step_rows(step),
            columns=part,
        )


def begin_early(feed: Iterable[LocalBatch]) -> Iterator[LocalBatch]:
    """The feed's batches; the first is fetched in the background, from now on.

    A stream does not start before it is asked for a block, and then takes seconds.
    """
    batches = iter(feed)
    background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="feed")
    first = background.submit(next, batches)
    background.shutdown(wait=False)
    return _from_first(first, batches)


def _from_first(first: Future[LocalBatch], batches: Iterator[LocalBatch]) -> Iterator[LocalBatch]:
    yield first.result()
    yield from batches
