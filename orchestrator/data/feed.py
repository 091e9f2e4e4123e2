"""A worker's side of a stream: blocks in, its share of each global batch out, as views."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from orchestrator.data.blocks import Share, open_block
from orchestrator.data.codec import Columns
from orchestrator.data.reader import STAND_IN_ROWS
from orchestrator.errors import DataError
from orchestrator.plan.geometry import Cursor, StreamGeometry, Superblock
from orchestrator.plan.origins import Origins


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalBatch:
    """A rank's share of one global batch.

    `origins` tell where its samples come from; `columns` has one entry for each, or, where the rank
    has none of a short last batch, stand-ins that must count for nothing. `global_rows` is the
    number of samples of the whole batch over all ranks, `lane` the first lane of this rank. The
    batch is the one numbered `offset` of the superblock `superblock`, both counted from 0, the
    latter through all epochs.
    """

    epoch: int
    step: int
    lane: int
    superblock: int
    offset: int
    origins: Origins
    global_rows: int
    columns: Columns

    @property
    def rows(self) -> NDArray[np.int64]:
        """The row of each sample, int64 [samples]."""
        return self.origins.rows


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
            share = self._next_block(superblock)
            start = 0
            for step in range(superblock.first_step, superblock.first_step + superblock.steps):
                size = self._rows_of(step)
                if (superblock.epoch, step) >= (self._first.epoch, self._first.step):
                    yield self._batch(superblock, step, share, start)
                start += size or STAND_IN_ROWS

    def _next_block(self, superblock: Superblock) -> Share:
        self.waiting_since = began = self._clock()
        table = next(self._blocks, None)
        self.waiting_since = None
        self.wait_s += self._clock() - began
        wanted = f"superblock {superblock.number} for rank {self._rank}"
        if table is None:
            raise DataError(f"the stream ended before {wanted}: rows would be lost")
        if table.num_rows != 1:
            raise DataError(f"the block of {wanted} holds {table.num_rows} cells instead of one")
        (share,) = open_block(table)
        if (share.superblock, share.rank) != (superblock.number, self._rank):
            raise DataError(
                f"the stream is out of order: got superblock {share.superblock} for rank"
                f" {share.rank}, wanted {wanted}"
            )
        steps = range(superblock.first_step, superblock.first_step + superblock.steps)
        expected = sum(self._rows_of(step) or STAND_IN_ROWS for step in steps)
        if len(share.origins) != expected:
            raise DataError(f"{wanted} holds {len(share.origins)} rows instead of {expected}")
        return share

    def _rows_of(self, step: int) -> int:
        start, stop = self._geometry.rank_span(step, self._rank, self._workers)
        return stop - start

    def _batch(self, superblock: Superblock, step: int, share: Share, start: int) -> LocalBatch:
        size = self._rows_of(step)
        stop = start + (size or STAND_IN_ROWS)
        return LocalBatch(
            epoch=superblock.epoch,
            step=step,
            lane=self._geometry.lanes_of(self._rank, self._workers).start,
            superblock=superblock.number,
            offset=step - superblock.first_step,
            origins=share.origins.take(slice(start, start + size)),
            global_rows=self._geometry.step_rows(step),
            columns={name: column[start:stop] for name, column in share.columns.items()},
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
