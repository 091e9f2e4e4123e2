"""The image work on plain arrays: what the peers run, and the limits."""

from collections.abc import Callable
from itertools import cycle

import numpy as np

from benchmarks.loaders.windows import (
    Columns,
    Empty,
    Window,
    find_make,
    plain_empty,
    plan_windows,
    read_window,
)
from benchmarks.workloads.images_work import DRAWS, KEY, PX, augment

MAKE = f"{__name__}:make_window"


def make_window(window: Window, empty: Empty) -> Columns:
    """Reads a window, permutes its rows, and decodes and augments them."""
    rng = np.random.default_rng(window.seed)
    table = read_window(window)
    order = rng.permutation(len(table))
    label = empty(KEY, (len(table),), np.int64)
    label[:] = table[KEY].to_numpy()[order]
    image = empty("image", (len(table), PX, PX, 3), np.uint8).view(np.uint8)
    jpegs = table["jpeg"].to_pylist()
    draws = rng.random((len(table), DRAWS))
    augment([jpegs[place] for place in order], draws, image)
    return {"image": image, KEY: label}


def window_work(data: str, groups: int) -> Callable[[], int]:
    """Part after part of P1: windows read, decoded and augmented."""
    make = find_make(MAKE)
    windows = cycle(plan_windows(data, groups=groups, epochs=1))

    def work() -> int:
        return len(make(next(windows), plain_empty)[KEY])

    return work
