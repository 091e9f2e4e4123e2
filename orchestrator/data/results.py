"""What a transform returned: checked, and put together again from the pieces of a batch."""

from collections.abc import Sequence

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


def concatenate(pieces: Sequence[Columns], name: str) -> Columns:
    """What a transform returned for the pieces of a batch, end to end.

    Raises:
        DataError: the pieces have different columns, or columns that do not fit together.
    """
    for piece in pieces[1:]:
        if piece.keys() != pieces[0].keys():
            raise DataError(
                f"transform {name} returned different columns for different batches:"
                f" {', '.join(sorted(pieces[0]))}, then {', '.join(sorted(piece))}"
            )
    try:
        return {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}
    except (TypeError, ValueError) as error:
        raise DataError(
            f"transform {name} returned different types or shapes for different batches: {error}"
        ) from error
