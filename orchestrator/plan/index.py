"""The index of a data set: its fragments in a fixed order, with exact row counts."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Fragment:
    """The smallest unit that is read as a whole: one row group of one Parquet file.

    `bytes` is the size of its wanted columns in memory, uncompressed.
    """

    path: str
    row_group: int
    rows: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column as the files declare it.

    `has_nulls` holds for the whole data set: a column of integers with gaps anywhere becomes
    floating point everywhere, so that its type does not depend on which rows a task reads.
    """

    name: str
    dtype: str
    has_nulls: bool


@dataclass(frozen=True, kw_only=True)
class DatasetIndex:
    """All fragments of one split; the row with number r is row r of their concatenation."""

    fragments: tuple[Fragment, ...]
    columns: tuple[Column, ...]

    @cached_property
    def fragment_rows(self) -> NDArray[np.int64]:
        """Rows of each fragment, int64 [fragments]."""
        return np.array([fragment.rows for fragment in self.fragments], dtype=np.int64)

    @property
    def rows(self) -> int:
        return int(self.fragment_rows.sum())

    @property
    def bytes(self) -> int:
        return sum(fragment.bytes for fragment in self.fragments)

    @property
    def files(self) -> int:
        return len({fragment.path for fragment in self.fragments})

    @property
    def bytes_per_row(self) -> float:
        return self.bytes / max(1, self.rows)

    def locate(self, row: int) -> tuple[str, int]:
        """The file that holds a row of this split, and the row's number in that file, from 0."""
        ends = np.cumsum(self.fragment_rows)
        number = int(np.searchsorted(ends, row, side="right"))
        fragment = self.fragments[number]
        before = sum(
            earlier.rows for earlier in self.fragments[:number] if earlier.path == fragment.path
        )
        return fragment.path, before + row - int(ends[number]) + fragment.rows

    def digest(self, root: str) -> str:
        """A hash of everything that decides which row has which number.

        Paths count relative to `root`, so that moving the whole job elsewhere changes nothing.
        """
        text = hashlib.sha256()
        for f in self.fragments:
            path = f.path.removeprefix(root.rstrip("/") + "/")
            text.update(f"{path}\0{f.row_group}\0{f.rows}\n".encode())
        for column in self.columns:
            text.update(f"{column.name}\0{column.dtype}\0{column.has_nulls}\n".encode())
        return text.hexdigest()
