"""Fragments by the million: columns of numbers instead of an object each."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

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


class Fragments(Sequence[Fragment]):
    """A sequence of fragments that takes 24 bytes for each, and travels to workers as it is.

    Each reader and each training worker has the whole index: as objects a million fragments would
    take a worker ten seconds and 300 MB.

    Attributes:
        paths: of the files, in the order in which they first come.
        file: the number of each fragment's file among the paths, int32 [fragments].
        row_group: int32 [fragments].
        rows: int64 [fragments].
        bytes: int64 [fragments].
    """

    def __init__(self, fragments: Iterable[Fragment] = ()) -> None:
        numbers: dict[str, int] = {}
        table = np.array(
            [
                (numbers.setdefault(f.path, len(numbers)), f.row_group, f.rows, f.bytes)
                for f in fragments
            ],
            dtype=np.int64,
        ).reshape(-1, 4)
        self._set(tuple(numbers), *table.T)

    @classmethod
    def of(cls, fragments: Iterable[Fragment]) -> "Fragments":
        """The fragments as columns, which they may be already."""
        return fragments if isinstance(fragments, cls) else cls(fragments)

    @classmethod
    def from_columns(
        cls,
        paths: Sequence[str],
        *,
        file: NDArray[np.integer],
        row_group: NDArray[np.integer],
        rows: NDArray[np.integer],
        bytes: NDArray[np.integer],
    ) -> "Fragments":
        """Fragments whose columns are there; each path once, in the order of the fragments."""
        made = cls.__new__(cls)
        made._set(tuple(paths), file, row_group, rows, bytes)
        return made

    def _set(
        self,
        paths: tuple[str, ...],
        file: NDArray[np.integer],
        row_group: NDArray[np.integer],
        rows: NDArray[np.integer],
        size: NDArray[np.integer],
    ) -> None:
        self.paths = paths
        self.file = np.ascontiguousarray(file, dtype=np.int32)
        self.row_group = np.ascontiguousarray(row_group, dtype=np.int32)
        self.rows = np.ascontiguousarray(rows, dtype=np.int64)
        self.bytes = np.ascontiguousarray(size, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Fragment: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Fragment, ...]: ...
    def __getitem__(self, place: int | slice) -> Fragment | tuple[Fragment, ...]:
        if isinstance(place, slice):
            return tuple(self[number] for number in range(*place.indices(len(self))))
        return Fragment(
            path=self.paths[self.file[place]],
            row_group=int(self.row_group[place]),
            rows=int(self.rows[place]),
            bytes=int(self.bytes[place]),
        )

    def __iter__(self) -> Iterator[Fragment]:
        columns = (column.tolist() for column in (self.file, self.row_group, self.rows, self.bytes))
        for file, group, rows, size in zip(*columns, strict=True):
            yield Fragment(path=self.paths[file], row_group=group, rows=rows, bytes=size)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Fragments):
            return NotImplemented
        return self.paths == other.paths and all(
            np.array_equal(mine, theirs)
            for mine, theirs in (
                (self.file, other.file),
                (self.row_group, other.row_group),
                (self.rows, other.rows),
                (self.bytes, other.bytes),
            )
        )

    def __hash__(self) -> int:
        return hash((self.paths, len(self)))
