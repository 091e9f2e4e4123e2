"""The tabular work on plain arrays, as fast as it can be written: for the peers and the limits."""

from collections.abc import Callable, Iterator
from itertools import cycle, repeat

import numpy as np

from benchmarks.harness.drain import drain
from benchmarks.harness.repeat import Reading
from benchmarks.loaders.windows import (
    Columns,
    Empty,
    Window,
    find_make,
    plain_empty,
    plan_windows,
    read_window,
    to_arrays,
)
from benchmarks.workloads.tabular_work import KEY, preprocess

# Rows of one call of `preprocess`: few enough for a core's cache.
_PIECE = 8_192


def make_window(window: Window, empty: Empty) -> Columns:
    """Reads a window, preprocesses it, and permutes its rows.

    In this order, since picking finished rows at random is cheaper than picking 37 columns so.
    """
    source = to_arrays(read_window(window))
    made = preprocess_in_pieces(source)
    order = np.random.default_rng(window.seed).permutation(len(made[KEY]))
    done: Columns = {}
    for name, column in made.items():
        done[name] = empty(name, column.shape, column.dtype)
        np.take(column, order, axis=0, out=done[name], mode="clip")
    return done


def preprocess_in_pieces(source: Columns) -> Columns:
    """The same as `preprocess` of all rows, in less time."""
    rows = len(source[KEY])
    made: Columns = {}
    for start in range(0, rows, _PIECE):
        part = slice(start, start + _PIECE)
        for name, column in preprocess({key: each[part] for key, each in source.items()}).items():
            if not start:
                made[name] = np.empty((rows, *column.shape[1:]), column.dtype)
            made[name][part] = column
    return made


def resident_work(data: str, groups: int) -> Callable[[], int]:
    """Part after part of P1: the rows of one window preprocessed, which lie in memory."""
    find_make(f"{__name__}:make_window")
    (window, *_) = plan_windows(data, groups=groups, epochs=1)
    source = to_arrays(read_window(window))

    def work() -> int:
        return len(preprocess_in_pieces(source)[KEY])

    return work


def whole_work(data: str, groups: int) -> Callable[[], int]:
    """Part after part of PR1: windows read, preprocessed and permuted."""
    make = find_make(f"{__name__}:make_window")
    windows = cycle(plan_windows(data, groups=groups, epochs=1))

    def work() -> int:
        return len(make(next(windows), plain_empty)[KEY])

    return work


def consume_resident(*, batch: int, batches: int, step_s: float = 0.0) -> Reading:
    """T: the consumer alone, which gets one batch again and again."""
    one: Columns = {"x": np.zeros((batch, 36), np.float32), KEY: np.arange(batch)}
    again: Iterator[Columns] = repeat(one, batches)
    return drain(again, rows=batch * batches, key=KEY, step_s=step_s)
