"""The index of a data set: its fragments in a fixed order, with exact row counts."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import DataError
from orchestrator.plan.fragments import Fragment as Fragment
from orchestrator.plan.fragments import Fragments

_COLUMNS_HINT = "name the columns that all sources have in dataset.train.columns"
# Files that a message names.
_SHOWN = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """A file with rows; `digest` changes with its content, even where its rows stay as many."""

    path: str
    rows: int
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column as the files declare it.

    `has_nulls` holds for the whole data set: a column of integers with gaps anywhere becomes
    floating point everywhere, so that its type does not depend on which rows a task reads.
    """

    name: str
    dtype: str
    has_nulls: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexedSource:
    """One of several sources: fragments [start, stop) of the index."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class DatasetIndex:
    """All fragments of one split; the row with number r is row r of their concatenation.

    `mixed` has the sources that are mixed, end to end; it is empty where there is but one. However
    the fragments are given, they are kept as columns of numbers: there may be millions of them.
    """

    fragments: Sequence[Fragment]
    columns: tuple[Column, ...]
    sources: tuple[SourceFile, ...] = ()
    mixed: tuple[IndexedSource, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "fragments", Fragments.of(self.fragments))

    def __getstate__(self) -> dict[str, object]:
        """What travels to workers: not what has been computed meanwhile."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def _table(self) -> Fragments:
        return Fragments.of(self.fragments)

    @property
    def fragment_rows(self) -> NDArray[np.int64]:
        """Rows of each fragment, int64 [fragments]."""
        return self._table.rows

    @cached_property
    def fragment_starts(self) -> NDArray[np.int64]:
        """The number of each fragment's first row, int64 [fragments]."""
        return np.cumsum(self.fragment_rows) - self.fragment_rows

    @property
    def rows(self) -> int:
        return int(self.fragment_rows.sum())

    @property
    def bytes(self) -> int:
        return int(self._table.bytes.sum())

    @property
    def files(self) -> int:
        return len(self._table.paths)

    @property
    def bytes_per_row(self) -> float:
        return self.bytes / max(1, self.rows)

    def locate(self, row: int) -> tuple[str, int]:
        """The file that holds a row, and the row's position in it, counted from 0."""
        # The last of those that begin there: those before it have no rows.
        number = int(np.searchsorted(self.fragment_starts, row, side="right")) - 1
        if row < 0 or row >= self.rows:
            raise IndexError(f"row {row} of a data set of {self.rows} rows")
        inside = row - int(self.fragment_starts[number])
        return self.fragments[number].path, int(self._before[number]) + inside

    @cached_property
    def _before(self) -> NDArray[np.int64]:
        """How many rows of its file come before each fragment, int64 [fragments]."""
        by_file = np.argsort(self._table.file, kind="stable")
        file, rows = self._table.file[by_file], self.fragment_rows[by_file]
        starts = np.cumsum(rows) - rows
        before = np.empty_like(starts)
        before[by_file] = starts - starts[np.searchsorted(file, file)]
        return before

    def digest(self, root: str) -> str:
        """A hash of everything that decides which row has which number, and what is in it.

        Paths count relative to `root`, so that moving the whole job elsewhere changes nothing.
        """
        text = hashlib.sha256()
        table = self._table
        paths = [_relative(path, root) for path in table.paths]
        columns = (table.file.tolist(), table.row_group.tolist(), table.rows.tolist())
        for file, group, rows in zip(*columns, strict=True):
            text.update(f"{paths[file]}\0{group}\0{rows}\n".encode())
        for path, content in self.listing(root).items():
            text.update(f"{path}\0{content}\n".encode())
        for column in self.columns:
            text.update(f"{column.name}\0{column.dtype}\0{column.has_nulls}\n".encode())
        return text.hexdigest()

    def listing(self, root: str) -> dict[str, str]:
        """Each file with its rows and digest, in order: what a change of the digest is named by."""
        return {
            _relative(source.path, root): f"{source.rows} rows, {source.digest}"
            for source in self.sources
        }


def join_indexes(indexes: Mapping[str, DatasetIndex], *, where: str) -> DatasetIndex:
    """The index of several sources, one after another, by their names.

    Args:
        where: the spec's path of the sources, for messages.

    Raises:
        DataError: two sources have other columns, or a file in common.
    """
    (first, *_), (model, *_) = indexes, indexes.values()
    mixed: list[IndexedSource] = []
    owners: dict[str, str] = {}
    for name, index in indexes.items():
        _check_like(model, index, f"{where}.{first}", f"{where}.{name}")
        for path in Fragments.of(index.fragments).paths:
            if (owner := owners.setdefault(path, name)) != name:
                raise DataError(
                    f"{where}.{name}: {path} is a file of {where}.{owner} too, and a row belongs"
                    " to one source"
                )
        start = mixed[-1].stop if mixed else 0
        mixed.append(IndexedSource(name=name, start=start, stop=start + len(index.fragments)))
    gaps = {
        column.name for index in indexes.values() for column in index.columns if column.has_nulls
    }
    return DatasetIndex(
        fragments=tuple(part for index in indexes.values() for part in index.fragments),
        columns=tuple(replace(column, has_nulls=column.name in gaps) for column in model.columns),
        sources=tuple(file for index in indexes.values() for file in index.sources),
        mixed=tuple(mixed),
    )


def _check_like(model: DatasetIndex, other: DatasetIndex, where: str, other_where: str) -> None:
    """Checks that a source has the columns of the first one, in whatever order."""
    wanted, got = ({c.name: c.dtype for c in index.columns} for index in (model, other))
    for name, dtype in wanted.items():
        if name not in got:
            raise DataError(
                f"{other_where}: there is no column {name!r}, but {where} has it",
                hint=_COLUMNS_HINT,
            )
        if got[name] != dtype:
            raise DataError(
                f"{other_where}: column {name!r} is {got[name]}, but {dtype} in {where}",
                hint=f"write all sources with one type, or leave {name!r} out of"
                " dataset.train.columns",
            )
    if extra := [name for name in got if name not in wanted]:
        raise DataError(
            f"{other_where}: there is a column {extra[0]!r}, which {where} lacks",
            hint=_COLUMNS_HINT,
        )


def file_changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """What became of the files between two listings, a line for each kind of change."""
    changed = [path for path, content in new.items() if old.get(path, content) != content]
    added = [path for path in new if path not in old]
    gone = [path for path in old if path not in new]
    lines = [
        f"{_some(paths)} {'are' if len(paths) > 1 else 'is'} {what}"
        for paths, what in ((changed, "changed"), (added, "new"), (gone, "gone"))
        if paths
    ]
    if not lines and list(old) != list(new):
        lines.append("the files come in another order")
    return lines


def _some(paths: Sequence[str]) -> str:
    if len(paths) == 1:
        return paths[0]
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return f"{len(paths)} files ({', '.join(paths[:_SHOWN])}{more})"


def _relative(path: str, root: str) -> str:
    return path.removeprefix(root.rstrip("/") + "/")
