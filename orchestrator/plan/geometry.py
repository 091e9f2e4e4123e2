"""How a stream is cut: steps, lanes, superblocks and windows. All of it is arithmetic.

Neither the lanes nor the size of a superblock change what is in a global batch: lanes say how its
rows are shared among workers, superblocks how they travel.
"""

import math
from dataclasses import dataclass

MOST_LANES = 32
# Busiest worker's lanes over those of the least busy, from which on the others wait too long.
_UNEVEN = 1.5
# Rows that a better batch may be away from the one that was asked for.
_REACH = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Cursor:
    """The next step to train: `step` steps of epoch `epoch` are done."""

    epoch: int
    step: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Superblock:
    """Steps [first_step, first_step + steps) of an epoch, carried as one block a worker."""

    number: int
    epoch: int
    first_step: int
    steps: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamGeometry:
    """Sizes of a stream: `rows` an epoch in global batches of `batch` rows.

    A global batch is cut into `lanes` lanes of `batch / lanes` rows; `superblock_steps` consecutive
    batches travel together; a window is `window_steps` batches, a whole number of superblocks.
    """

    rows: int
    batch: int
    lanes: int
    superblock_steps: int
    window_steps: int

    @property
    def lane_rows(self) -> int:
        return self.batch // self.lanes

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.rows // self.batch)

    @property
    def superblocks_per_epoch(self) -> int:
        return -(-self.steps_per_epoch // self.superblock_steps)

    @property
    def windows_per_epoch(self) -> int:
        return -(-self.steps_per_epoch // self.window_steps)

    @property
    def superblocks_per_window(self) -> int:
        return self.window_steps // self.superblock_steps

    def cursor(self, global_step: int) -> Cursor:
        """The cursor after `global_step` steps of the whole run."""
        epoch, step = divmod(global_step, self.steps_per_epoch)
        return Cursor(epoch=epoch, step=step)

    def samples_before(self, global_step: int) -> int:
        """Samples in the first `global_step` steps of the whole run."""
        epoch, step = divmod(global_step, self.steps_per_epoch)
        return epoch * self.rows + min(step * self.batch, self.rows)

    def superblock(self, number: int) -> Superblock:
        """The superblock with this number, counted through all epochs."""
        epoch, inside = divmod(number, self.superblocks_per_epoch)
        first = inside * self.superblock_steps
        steps = min(self.superblock_steps, self.steps_per_epoch - first)
        return Superblock(number=number, epoch=epoch, first_step=first, steps=steps)

    def superblock_of(self, cursor: Cursor) -> int:
        """The number of the superblock that holds the cursor's step."""
        return cursor.epoch * self.superblocks_per_epoch + cursor.step // self.superblock_steps

    def window_of(self, superblock: int) -> int:
        """The number, through all epochs, of the window that holds a superblock."""
        epoch, inside = divmod(superblock, self.superblocks_per_epoch)
        return epoch * self.windows_per_epoch + inside // self.superblocks_per_window

    def superblocks_of_window(self, window: int) -> range:
        """The numbers of a window's superblocks."""
        epoch, inside = divmod(window, self.windows_per_epoch)
        base = epoch * self.superblocks_per_epoch
        first = inside * self.superblocks_per_window
        last = min(first + self.superblocks_per_window, self.superblocks_per_epoch)
        return range(base + first, base + last)

    def step_rows(self, step: int) -> int:
        """Rows in the global batch of a step: `batch`, or what is left at the epoch's end."""
        return min(self.batch, self.rows - step * self.batch)

    def lanes_of(self, rank: int, workers: int) -> range:
        """The lanes of a rank: neighbours, as many as of any other rank or one less."""
        return range(rank * self.lanes // workers, (rank + 1) * self.lanes // workers)

    def rank_span(self, step: int, rank: int, workers: int) -> tuple[int, int]:
        """Positions [start, stop) of a rank's share of a step; empty past the end of the epoch."""
        lanes = self.lanes_of(rank, workers)
        first = step * self.batch
        start, stop = first + lanes.start * self.lane_rows, first + lanes.stop * self.lane_rows
        return min(self.rows, start), min(self.rows, stop)


def default_lanes(batch: int) -> int:
    """The largest divisor of the global batch up to 32: a function of the batch alone."""
    return max(lanes for lanes in range(1, min(MOST_LANES, batch) + 1) if batch % lanes == 0)


def share_well(lanes: int, workers: int) -> bool:
    """Whether each worker gets a lane, and none gets far more of them than another."""
    return lanes >= workers and -(-lanes // workers) < _UNEVEN * (lanes // workers)


def nearest_batches(batch: int, workers: int) -> list[int]:
    """The nearest batch sizes, one below and one above, whose lanes the workers share well."""
    if workers > MOST_LANES:
        return []
    below = range(batch - 1, max(0, batch - _REACH), -1)
    above = range(batch + 1, batch + _REACH)
    found = [
        next((size for size in sizes if share_well(default_lanes(size), workers)), None)
        for sizes in (below, above)
    ]
    return [size for size in found if size is not None]


def fewest_lanes(batch: int, workers: int) -> int | None:
    """The fewest lanes that a batch can be cut into and the workers share well; None for none."""
    sizes = range(workers, min(batch, workers + _REACH) + 1)
    fitting = (lanes for lanes in sizes if batch % lanes == 0 and share_well(lanes, workers))
    # A lane for each row: where the batch is prime there is nothing between 1 and that.
    return next(fitting, batch if share_well(batch, workers) else None)


def choose_window_steps(*, steps_per_epoch: int, batch: int, window_rows: int) -> int:
    """Steps in a window of about `window_rows` rows, never more than an epoch.

    Rounded up to a multiple of 8 where it is longer, so that several superblock sizes divide it.
    """
    steps = max(1, -(-window_rows // batch))
    if steps > 8:
        steps = -(-steps // 8) * 8
    return min(steps, steps_per_epoch)


def aligned_window(rows: int, fragment_rows: int, batch: int) -> int:
    """A window of about `rows` rows that ends where a fragment of the usual size ends.

    Else nearly every window begins and ends inside a fragment, which is then read by two tasks.
    `rows` where nothing near it does.
    """
    # In eights of batches, as a longer window is rounded to.
    unit = math.lcm(fragment_rows, batch * 8)
    aligned = max(1, round(rows / unit)) * unit
    return aligned if rows / 2 <= aligned <= rows * 3 / 2 else rows


def choose_superblock_steps(*, steps_per_epoch: int, window_steps: int, most: int) -> int:
    """The most steps, up to `most`, that cut a window into whole superblocks.

    Where one window is the whole epoch nothing has to divide, and the pieces are made even.
    """
    if window_steps >= steps_per_epoch:
        pieces = -(-steps_per_epoch // most)
        return -(-steps_per_epoch // pieces)
    return max(size for size in range(1, min(most, window_steps) + 1) if window_steps % size == 0)


def cut_stream(
    *,
    rows: int,
    batch: int,
    lanes: int,
    window_rows: int,
    window_is_order: bool,
    superblock_steps: int | None,
    most_superblock_steps: int,
) -> StreamGeometry:
    """The geometry of a stream.

    Args:
        window_is_order: rows are permuted inside windows, so that superblocks, which must not
            change the order, have to divide a window as it is; else a window makes room for them.
        superblock_steps: None chooses it.
    """
    steps = -(-rows // batch)
    window = choose_window_steps(steps_per_epoch=steps, batch=batch, window_rows=window_rows)
    size = superblock_steps or choose_superblock_steps(
        steps_per_epoch=steps, window_steps=window, most=most_superblock_steps
    )
    if window >= steps or not window_is_order:
        # Rounded up to whole superblocks: the order stays the same.
        window = -(-window // size) * size
    return StreamGeometry(
        rows=rows, batch=batch, lanes=lanes, superblock_steps=size, window_steps=window
    )
