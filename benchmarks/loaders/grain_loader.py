"""Grain over windows: its processes make them, shared memory carries them, it cuts batches."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial

import grain
from grain.experimental import RebatchIterDataset

from benchmarks.harness.drain import drain
from benchmarks.harness.repeat import Reading
from benchmarks.loaders.windows import (
    Columns,
    Window,
    count_rows,
    find_make,
    plain_empty,
    plan_windows,
)

# Windows that a worker holds finished, and reads ahead; Grain's own 500 are for single records.
_READY, _READ_AHEAD = 1, 1


def load(windows: Sequence[Window], make: str, *, batch: int, workers: int) -> Iterator[Columns]:
    """All batches of the windows."""
    reading = grain.ReadOptions(num_threads=1, prefetch_buffer_size=_READ_AHEAD)
    processes = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=_READY)
    made = (
        grain.MapDataset.source(windows)
        .map(partial(_make_window, make=make))
        .to_iter_dataset(reading)
    )
    batches = iter(RebatchIterDataset(made.mp_prefetch(processes), batch_size=batch))
    with closing(batches):
        yield from batches


def run(
    *, data: str, make: str, batch: int, key: str, workers: int, groups: int, epochs: int
) -> Reading:
    """One repetition."""
    windows = plan_windows(data, groups=groups, epochs=epochs)
    batches = load(windows, make, batch=batch, workers=workers)
    return drain(batches, rows=count_rows(data) * epochs, key=key)


def _make_window(window: Window, make: str) -> Columns:
    return find_make(make)(window, plain_empty)
