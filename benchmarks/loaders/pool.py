"""multiprocessing.Pool over windows: results through its pipe, or in a ring of shared memory.

The ring is what one writes who finds the pipe too slow: memory that parent and workers share from
the start, so that a window is neither copied nor are its pages made anew. A batch of it is good
until the next one is asked for.
"""

import mmap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from threading import Semaphore
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from benchmarks.harness.drain import drain
from benchmarks.harness.repeat import Reading
from benchmarks.loaders.windows import (
    Columns,
    Make,
    Window,
    count_rows,
    cut_batches,
    find_make,
    plain_empty,
    plan_windows,
)

# Windows that are made or wait, for each worker. Pool itself would make them without end.
_AHEAD = 3
_LARGEST_WINDOW = 512 << 20
Mode: TypeAlias = Literal["pipe", "ring"]
# The workers' side of the ring; they are forked, and so it is theirs, too.
_ring: list[mmap.mmap] = []
_makes: list[Make] = []


@dataclass(frozen=True, slots=True)
class Place:
    """Where a column lies in the ring's buffer."""

    name: str
    start: int
    shape: tuple[int, ...]
    dtype: str


Made: TypeAlias = Columns | list[Place]


class RingColumns:
    """Makes arrays one behind the other in a buffer of the ring."""

    def __init__(self, buffer: mmap.mmap) -> None:
        self._buffer = buffer
        self._end = 0
        self.places: list[Place] = []

    def __call__(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[np.generic]:
        kind = np.dtype(dtype)
        place = Place(name, self._end, shape, kind.str)
        self.places.append(place)
        # On to the next line of the cache.
        self._end += -(-int(np.prod(shape)) * kind.itemsize // 64) * 64
        return _at(self._buffer, place)


def load(
    windows: Sequence[Window], make: str, *, batch: int, workers: int, mode: Mode
) -> Iterator[Columns]:
    """All batches of the windows, as views of the windows' arrays."""
    ahead = _AHEAD * workers
    _ring[:] = [mmap.mmap(-1, _LARGEST_WINDOW) for _ in range(ahead if mode == "ring" else 0)]
    free = Semaphore(ahead)

    def paced() -> Iterator[tuple[int, Window]]:
        for number, window in enumerate(windows):
            free.acquire()
            yield number % ahead, window

    # Fork, so that the ring is shared and nothing is imported anew.
    with get_context("fork").Pool(workers, initializer=_start, initargs=(make,)) as pool:
        call: Callable[[tuple[int, Window]], Made] = _to_ring if _ring else _to_pipe
        for number, made in enumerate(pool.imap(call, paced())):
            columns = made if isinstance(made, dict) else _columns(_ring[number % ahead], made)
            yield from cut_batches(columns, batch)
            free.release()


def run(
    *,
    data: str,
    make: str,
    batch: int,
    key: str,
    workers: int,
    mode: Mode,
    groups: int,
    epochs: int = 1,
    step_s: float = 0.0,
) -> Reading:
    """One repetition."""
    windows = plan_windows(data, groups=groups, epochs=epochs)
    batches = load(windows, make, batch=batch, workers=workers, mode=mode)
    return drain(batches, rows=count_rows(data) * epochs, key=key, step_s=step_s)


def _start(make: str) -> None:
    _makes[:] = [find_make(make)]


def _to_pipe(item: tuple[int, Window]) -> Columns:
    (make,) = _makes
    return make(item[1], plain_empty)


def _to_ring(item: tuple[int, Window]) -> list[Place]:
    number, window = item
    empty = RingColumns(_ring[number])
    (make,) = _makes
    make(window, empty)
    return empty.places


def _columns(buffer: mmap.mmap, places: list[Place]) -> Columns:
    return {place.name: _at(buffer, place) for place in places}


def _at(buffer: mmap.mmap, place: Place) -> NDArray[np.generic]:
    return np.ndarray(place.shape, place.dtype, buffer, place.start)
