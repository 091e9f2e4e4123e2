"""What a transform returned: checked, and put together again from the pieces of a batch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.codec import Columns
from orchestrator.errors import DataError


def check_result(result: object, rows: int, name: str) -> Columns:
    """The columns that a transform returned for so many rows.

    Raises:
        DataError: it is no dictionary with one entry a row for each column.
    """
    columns: Columns = {}
    for key, value in as_columns(result, name).items():
        column = as_array(value, f"column {key!r}", name)
        if column.ndim == 0 or len(column) != rows:
            got = "a scalar" if column.ndim == 0 else f"{len(column)} rows"
            raise DataError(
                f"transform {name}: column {key!r} has {got} for {rows} rows of input;"
                " a transform returns one entry a row, in the same order"
            )
        columns[key] = column
    return columns


def as_array(value: object, what: str, name: str) -> NDArray[np.generic]:
    """What a transform gave as an array.

    Raises:
        DataError: it is none.
    """
    try:
        return np.asarray(value)
    except Exception as error:  # a tensor on a GPU, rows of unequal length, ...
        raise DataError(
            f"transform {name}: {what}, a {type(value).__name__}, is no array: {error}"
        ) from error


def as_columns(result: object, name: str) -> dict[str, object]:
    """What a transform returned, as far as it has columns.

    Raises:
        DataError: it has none.
    """
    if not isinstance(result, dict) or not result:
        raise DataError(
            f"transform {name} returned {type(result).__name__}, wanted a dictionary of columns"
        )
    return {str(key): value for key, value in result.items()}


class Joined:
    """What a transform returns for the pieces of a batch, end to end.

    Each is copied as it comes: a transform may write again into an array that it has returned.
    """

    def __init__(self, rows: int, name: str) -> None:
        self.columns: Columns = {}
        self._rows = rows
        self._name = name
        self._filled = 0

    def add(self, piece: Columns) -> None:
        """Takes the next piece.

        Raises:
            DataError: it has other columns than those before, or columns that do not fit to them.
        """
        if not self.columns:
            self.columns = {
                key: np.empty((self._rows, *column.shape[1:]), column.dtype)
                for key, column in piece.items()
            }
        _check_names(self.columns, piece, self._name)
        start, self._filled = self._filled, self._filled + len(next(iter(piece.values())))
        with _told_where_unlike(self._name):
            for key, column in piece.items():
                whole = self.columns[key]
                kind = np.concatenate([whole[:0], column[:0]]).dtype
                if kind != whole.dtype:
                    whole = self.columns[key] = whole.astype(kind)
                whole[start : self._filled] = column


def concatenate(pieces: Sequence[Columns], name: str) -> Columns:
    """What a transform returned for the pieces of a batch, end to end.

    Raises:
        DataError: the pieces have different columns, or columns that do not fit together.
    """
    for piece in pieces[1:]:
        _check_names(pieces[0], piece, name)
    with _told_where_unlike(name):
        return {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}


def _check_names(first: Columns, piece: Columns, name: str) -> None:
    if piece.keys() != first.keys():
        raise DataError(
            f"transform {name} returned different columns for different batches:"
            f" {', '.join(sorted(first))}, then {', '.join(sorted(piece))}"
        )


@contextmanager
def _told_where_unlike(name: str) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError) as error:
        raise DataError(
            f"transform {name} returned different types or shapes for different batches: {error}"
        ) from error
