"""A worker's side of a stream: blocks in, its share of each global batch out, nothing copied twice."""

import time
from collections.abc import Callable, Iterable, Iterator
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

    def __iter__(self) -> Iterator[LocalBatch]:
        geometry = self._geometry
        for number in range(geometry.superblock_of(self._first), self._last_superblock):
            superblock = geometry.superblock(number)
            blocks = {
                lane: self._next_block(superblock, lane)
                for lane in range(geometry.lanes)
                if geometry.worker_of(number, lane, self._workers) == self._rank
            }
            for step in range(superblock.first_step, superblock.first_step + superblock.steps):
                if (superblock.epoch, step) >= (self._first.epoch, self._first.step):
                    yield self._share(superblock, step, blocks)

    def _next_block(self, superblock: Superblock, lane: int) -> Columns:
        began = self._clock()
        table = next(self._blocks, None)
        self.wait_s += self._clock() - began
        wanted = f"superblock {superblock.number}, lane {lane} (rank {self._rank})"
        if table is None:
            raise DataError(f"the stream ended before {wanted}: rows would be lost")
        ((number, got_lane, columns),) = open_block(table)
        if (number, got_lane) != (superblock.number, lane):
            raise DataError(
                f"the stream is out of order: got superblock {number}, lane {got_lane},"
                f" wanted {wanted}"
            )
        rows, expected = len(columns[ROW]), self._rows_of_block(superblock, lane)
        if rows != expected:
            raise DataError(f"{wanted} holds {rows} rows instead of {expected}")
        return columns

    def _rows_of_block(self, superblock: Superblock, lane: int) -> int:
        spans = self._geometry.lane_spans(superblock, lane)
        return sum(stop - start or STAND_IN_ROWS for start, stop in spans)

    def _share(self, superblock: Superblock, step: int, blocks: dict[int, Columns]) -> LocalBatch:
        # Every earlier step of a superblock is a whole batch, so each lane's part starts here.
        offset = (step - superblock.first_step) * self._geometry.lane_rows
        parts: list[Columns] = []
        stand_ins: list[Columns] = []
        for lane, columns in blocks.items():
            start, stop = self._geometry.lane_span(step, lane)
            size = stop - start
            cut = slice(offset, offset + (size or STAND_IN_ROWS))
            part = {name: column[cut] for name, column in columns.items()}
            (parts if size else stand_ins).append(part)
        merged = _join(parts or stand_ins)
        rows = merged.pop(ROW).astype(np.int64, copy=False)
        return LocalBatch(
            epoch=superblock.epoch,
            step=step,
            lane=min(blocks),
            rows=rows if parts else rows[:0],
            global_rows=self._geometry.step_rows(step),
            columns=merged,
        )


def _join(parts: list[Columns]) -> Columns:
    if len(parts) == 1:
        return dict(parts[0])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
