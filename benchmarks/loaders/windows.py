"""Windows of row groups: the unit in which the hand-written loaders read, shuffle and preprocess.

Row groups are permuted and cut into windows, and a window's rows are permuted by whoever makes it,
as in our own stream; all epochs stand in one list, so that no loader pauses between them.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Protocol, TypeAlias, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import DTypeLike, NDArray

from benchmarks.harness.symbols import find
from orchestrator.data.memory import keep_freed_memory

Columns: TypeAlias = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Window:
    """Row groups as (file, number), and the seed of the window's random numbers."""

    groups: tuple[tuple[str, int], ...]
    seed: int


class Empty(Protocol):
    """Makes the array that a finished column is written into."""

    def __call__(
        self, name: str, shape: tuple[int, ...], dtype: DTypeLike
    ) -> NDArray[np.generic]: ...


# Makes a window's finished columns, in arrays that it gets from the other argument.
Make: TypeAlias = Callable[[Window, Empty], Columns]


def plain_empty(name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[np.generic]:
    """An array of this process alone."""
    del name
    return np.empty(shape, dtype)


def find_make(call: str) -> Make:
    """The function `module:name`, in a process that is about to make windows.

    Every loader's workers get what ours get: freed memory is kept, since it will be needed again.
    """
    keep_freed_memory()
    return cast("Make", find(call))


def plan_windows(data: str, *, groups: int, epochs: int, seed: int = 0) -> list[Window]:
    """The windows of all epochs, of so many row groups each, in the order of their use."""
    everything = [
        (str(file), number)
        for file in sorted(Path(data).glob("*.parquet"))
        for number in range(_opened(str(file)).num_row_groups)
    ]
    if not everything:
        raise ValueError(f"{data}: no *.parquet file with rows in it")
    rng = np.random.default_rng(seed)
    windows = []
    for _ in range(epochs):
        order = [everything[place] for place in rng.permutation(len(everything))]
        for start in range(0, len(order), groups):
            windows.append(Window(tuple(order[start : start + groups]), int(rng.integers(1 << 62))))
    return windows


def count_rows(data: str) -> int:
    """Rows of all files."""
    return sum(pq.read_metadata(file).num_rows for file in Path(data).glob("*.parquet"))


def read_window(window: Window) -> pa.Table:
    """The rows of a window as they are in the files."""
    tables = []
    # Row groups of one file in one call.
    for file, groups in groupby(sorted(window.groups), key=itemgetter(0)):
        numbers = [number for _, number in groups]
        tables.append(_opened(file).read_row_groups(numbers, use_threads=False))
    return pa.concat_tables(tables)


def to_arrays(table: pa.Table) -> Columns:
    """Columns of numbers as arrays; NaN where a value is missing."""
    return {name: _to_array(table[name]) for name in table.column_names}


def _to_array(column: pa.ChunkedArray) -> NDArray[np.generic]:
    if column.null_count:
        # Arrow's own way to numpy fills gaps, too, but takes five times as long.
        column = pc.fill_null(column, pa.scalar(np.nan, column.type))
    return np.asarray(column.to_numpy())


def cut_batches(columns: Mapping[str, NDArray[np.generic]], batch: int) -> Iterator[Columns]:
    """Batches as views; the last one may be shorter."""
    rows = len(next(iter(columns.values())))
    for start in range(0, rows, batch):
        yield {name: column[start : start + batch] for name, column in columns.items()}


def _opened(file: str) -> pq.ParquetFile:
    """A file whose footer this thread has read, kept open.

    One for each thread: two that read from the same ParquetFile wait for each other for ever.
    """
    return _opened_by(threading.get_ident(), file)


@lru_cache(maxsize=256)
def _opened_by(_thread: int, file: str) -> pq.ParquetFile:
    return pq.ParquetFile(file)
