"""What is done of an epoch whose superblocks are trained in the order in which they are ready."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.plan.geometry import Cursor, StreamGeometry, Superblock

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenEpoch:
    """The steps of an epoch that are trained, as intervals [start, stop), ascending and apart.

    The steps are those of the order, not of superblocks: how many steps these hold may change from
    one attempt to the next. There are about as many intervals as windows under way at a time.
    """

    epoch: int
    done: tuple[Span, ...] = ()

    @classmethod
    def until(cls, cursor: Cursor) -> "OpenEpoch":
        """The epoch after its first steps, in order."""
        return cls(epoch=cursor.epoch, done=((0, cursor.step),) if cursor.step else ())

    @property
    def steps(self) -> int:
        """How many steps are done."""
        return sum(stop - start for start, stop in self.done)

    @property
    def first_left(self) -> int:
        """The first step that is not done."""
        return self.done[0][1] if self.done and not self.done[0][0] else 0

    @property
    def in_order(self) -> bool:
        """Whether no step was passed over, so that their number says which are done."""
        return self.first_left == self.steps

    def __contains__(self, step: int) -> bool:
        place = self._after(step)
        return place > 0 and step < self.done[place - 1][1]

    def has(self, superblock: Superblock) -> bool:
        """Whether all steps of the superblock are done."""
        if superblock.epoch != self.epoch:
            return False
        place = self._after(superblock.first_step)
        last = superblock.first_step + superblock.steps
        return place > 0 and last <= self.done[place - 1][1]

    def plus(self, step: int) -> "OpenEpoch":
        """With one more step, which was not done."""
        place = self._after(step)
        before, after = self.done[:place], self.done[place:]
        start, stop = step, step + 1
        if before and before[-1][1] == start:
            start, before = before[-1][0], before[:-1]
        if after and after[0][0] == stop:
            stop, after = after[0][1], after[1:]
        return OpenEpoch(epoch=self.epoch, done=(*before, (start, stop), *after))

    def _after(self, step: int) -> int:
        """The place of the first interval that starts after the step."""
        return bisect_right(self.done, step, key=lambda span: span[0])


def superblocks_left(
    geometry: StreamGeometry, superblocks: range, open_epoch: OpenEpoch
) -> Sequence[int]:
    """Those of an epoch's superblocks that have steps which are not done, ascending."""
    if open_epoch.in_order:
        # The common case, in no time: there may be hundreds of thousands of superblocks.
        first = geometry.superblock_of(Cursor(epoch=open_epoch.epoch, step=open_epoch.first_left))
        return range(max(first, superblocks.start), superblocks.stop)
    return [name for name in superblocks if not open_epoch.has(geometry.superblock(name))]


def windows_left(
    geometry: StreamGeometry, superblocks: range, open_epoch: OpenEpoch | None
) -> NDArray[np.int64]:
    """The windows of a stream whose superblocks are not all done, ascending.

    Args:
        superblocks: of the stream, through all its epochs.
        open_epoch: what is done of the first of them; None: nothing of these superblocks.
    """
    stop = geometry.window_of(superblocks.stop - 1) + 1
    first = geometry.window_of(superblocks.start)
    if open_epoch is None:
        return np.arange(first, stop)
    ends = (open_epoch.epoch + 1) * geometry.superblocks_per_epoch
    opened = range(superblocks.start, min(superblocks.stop, ends))
    left = superblocks_left(geometry, opened, open_epoch)
    windows = sorted({geometry.window_of(name) for name in left})
    later = np.arange(min(stop, geometry.windows_per_epoch * (open_epoch.epoch + 1)), stop)
    return np.concatenate([np.array(windows, dtype=np.int64), later])
