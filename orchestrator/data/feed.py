"""A worker's side of a stream: blocks in, its share of each global batch out, as views."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from orchestrator.data.arrivals import Arrivals
from orchestrator.data.blocks import Share
from orchestrator.data.codec import Columns
from orchestrator.data.reader import STAND_IN_ROWS
from orchestrator.plan.geometry import Cursor, StreamGeometry, Superblock
from orchestrator.plan.open_epoch import OpenEpoch, superblocks_left
from orchestrator.plan.origins import Origins


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalBatch:
    """A rank's share of one global batch.

    `origins` tell where its samples come from; `columns` has one entry for each, or, where the rank
    has none of a short last batch, stand-ins that must count for nothing. `global_rows` is the
    number of samples of the whole batch over all ranks, `lane` the first lane of this rank. The
    batch is the one numbered `offset` of the superblock `superblock`, both counted from 0, the
    latter through all epochs.

    `step` counts the batches of the epoch as they are trained. `open_epoch` says which steps of the
    order are done once this one is trained; None where these are the first ones, as they always are
    in strict order.
    """

    epoch: int
    step: int
    lane: int
    superblock: int
    offset: int
    origins: Origins
    global_rows: int
    columns: Columns
    open_epoch: OpenEpoch | None = None

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
        end: the step after the last one, where it lies inside of an epoch.
        open_epoch: which steps of the first epoch are done, where these are not just its first.
        relaxed: whether the superblocks of an epoch are taken as they come.
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
        end: Cursor | None = None,
        open_epoch: OpenEpoch | None = None,
        relaxed: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._arrivals = Arrivals(
            blocks,
            geometry,
            rank=rank,
            workers=workers,
            last_superblock=last_superblock,
            clock=clock,
        )
        self._geometry = geometry
        self._lane = geometry.lanes_of(rank, workers).start
        self._begun = open_epoch or OpenEpoch.until(first)
        self._last_superblock = last_superblock
        self._end = end
        self._relaxed = relaxed

    @property
    def wait_s(self) -> float:
        """Seconds spent waiting for blocks so far."""
        return self._arrivals.wait_s

    @property
    def waiting_since(self) -> float | None:
        """When the wait that is under way began, by the clock; None outside of one."""
        return self._arrivals.waiting_since

    def __iter__(self) -> Iterator[LocalBatch]:
        done = self._begun
        while left := self._left(done):
            while left:
                share = self._next_share(left)
                del left[share.superblock]
                superblock = self._geometry.superblock(share.superblock)
                for step, rows, place in self._cuts(superblock):
                    if step not in done and not self._is_past_end(superblock.epoch, step):
                        done = done.plus(step)
                        yield self._batch(share, superblock, step, rows, place, done)
            done = OpenEpoch(epoch=done.epoch + 1)

    def _left(self, done: OpenEpoch) -> dict[int, None]:
        """The superblocks that are left of an epoch, ascending."""
        per_epoch = self._geometry.superblocks_per_epoch
        first = done.epoch * per_epoch
        superblocks = range(first, min(first + per_epoch, self._last_superblock))
        return dict.fromkeys(superblocks_left(self._geometry, superblocks, done))

    def _next_share(self, left: dict[int, None]) -> Share:
        if self._relaxed:
            return self._arrivals.take_any(left)
        return self._arrivals.take(next(iter(left)))

    def _cuts(self, superblock: Superblock) -> Iterator[tuple[int, int, slice]]:
        """The steps of a superblock, each with the rank's rows and their place in its block."""
        start = 0
        for step in range(superblock.first_step, superblock.first_step + superblock.steps):
            rows = self._arrivals.rows_of(step)
            stop = start + (rows or STAND_IN_ROWS)
            yield step, rows, slice(start, stop)
            start = stop

    def _is_past_end(self, epoch: int, step: int) -> bool:
        end = self._end
        return end is not None and (epoch, step) >= (end.epoch, end.step)

    def _batch(
        self,
        share: Share,
        superblock: Superblock,
        step: int,
        rows: int,
        place: slice,
        done: OpenEpoch,
    ) -> LocalBatch:
        return LocalBatch(
            epoch=superblock.epoch,
            step=done.steps - 1,
            lane=self._lane,
            superblock=superblock.number,
            offset=step - superblock.first_step,
            origins=share.origins.take(slice(place.start, place.start + rows)),
            global_rows=self._geometry.step_rows(step),
            columns={name: column[place] for name, column in share.columns.items()},
            open_epoch=None if done.in_order else done,
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
