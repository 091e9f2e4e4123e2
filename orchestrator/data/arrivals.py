"""The superblocks of a rank as they arrive: each checked, and none twice."""

import time
from collections.abc import Callable, Collection, Iterable

import pyarrow as pa

from orchestrator.data.blocks import Share, open_block
from orchestrator.data.reader import STAND_IN_ROWS
from orchestrator.errors import DataError
from orchestrator.plan.geometry import StreamGeometry

# Superblocks that a message lists.
_SHOWN = 5


class Arrivals:
    """A rank's shares of superblocks, one after another, as Ray delivers them.

    Args:
        blocks: the rank's blocks, each a table of one row.
        last_superblock: the superblock after the stream's last.
    """

    def __init__(
        self,
        blocks: Iterable[pa.Table],
        geometry: StreamGeometry,
        *,
        rank: int,
        workers: int,
        last_superblock: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._blocks = iter(blocks)
        self._geometry = geometry
        self._rank = rank
        self._workers = workers
        self._last_superblock = last_superblock
        self._clock = clock
        # Of later epochs; all ranks get the same sequence, and so hold back the same.
        self._held: dict[int, Share] = {}
        self.wait_s = 0.0
        self.waiting_since: float | None = None

    def take(self, number: int) -> Share:
        """The share of this superblock, which has to come next.

        Raises:
            DataError: another one comes, or none.
        """
        wanted = f"superblock {number} for rank {self._rank}"
        share = self._receive(wanted)
        if (share.superblock, share.rank) != (number, self._rank):
            raise self._disorder(share, wanted)
        return self._checked(share)

    def take_any(self, left: Collection[int]) -> Share:
        """The share of whichever comes first of these superblocks, all that are left of an epoch.

        Raises:
            DataError: what comes belongs to another rank or is none that is left of the stream, or
                the stream ended.
        """
        if (found := next((name for name in self._held if name in left), None)) is not None:
            return self._held.pop(found)
        epoch = self._geometry.superblock(max(left)).epoch
        next_epoch = (epoch + 1) * self._geometry.superblocks_per_epoch
        later = range(next_epoch, self._last_superblock)
        wanted = f"{_named(left)} for rank {self._rank}"
        while True:
            share = self._receive(wanted)
            if share.rank != self._rank:
                raise self._disorder(share, wanted)
            if share.superblock in left:
                return self._checked(share)
            if share.superblock not in later or share.superblock in self._held:
                raise DataError(
                    f"superblock {share.superblock} came to rank {self._rank} though it is done"
                    f" or none of this stream; wanted {wanted}"
                )
            self._held[share.superblock] = self._checked(share)

    def rows_of(self, step: int) -> int:
        """The rank's rows of a step of the order."""
        start, stop = self._geometry.rank_span(step, self._rank, self._workers)
        return stop - start

    def _receive(self, wanted: str) -> Share:
        self.waiting_since = began = self._clock()
        table = next(self._blocks, None)
        self.waiting_since = None
        self.wait_s += self._clock() - began
        if table is None:
            raise DataError(f"the stream ended before {wanted}: rows would be lost")
        if table.num_rows != 1:
            raise DataError(f"the block of {wanted} holds {table.num_rows} cells instead of one")
        (share,) = open_block(table)
        return share

    def _checked(self, share: Share) -> Share:
        superblock = self._geometry.superblock(share.superblock)
        steps = range(superblock.first_step, superblock.first_step + superblock.steps)
        expected = sum(self.rows_of(step) or STAND_IN_ROWS for step in steps)
        if len(share.origins) != expected:
            raise DataError(
                f"superblock {share.superblock} for rank {self._rank} holds {len(share.origins)}"
                f" rows instead of {expected}"
            )
        return share

    def _disorder(self, share: Share, wanted: str) -> DataError:
        return DataError(
            f"the stream is out of order: got superblock {share.superblock} for rank"
            f" {share.rank}, wanted {wanted}"
        )


def _named(left: Collection[int]) -> str:
    names = sorted(left)
    listed = ", ".join(str(name) for name in names[:_SHOWN])
    more = f" or {len(names) - _SHOWN} others" if len(names) > _SHOWN else ""
    return f"superblock {listed}{more}"
