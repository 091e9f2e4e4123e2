"""Transforms of the user: what may be one, and how it is applied to the rows of a superblock."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.codec import Columns
from orchestrator.data.random import RowRandom
from orchestrator.errors import DataError, SpecError
from orchestrator.spec.transform import TransformSpec
from orchestrator.symbols import resolve_symbol
from orchestrator.symbols.frames import user_trace


class Transform(Protocol):
    """A callable on a batch of numpy columns, each with one entry a row.

    Either a function `f(batch, **params)`, or a class that is constructed with the spec's `with`
    once in each worker and then called with batches. It returns as many rows as it got, in the same
    order, and may ask for `rng` by naming a parameter so. It need not keep the columns it got.
    """

    def __call__(self, batch: Columns) -> Columns: ...


class BoundTransform:
    """One transform of the spec, resolved, with its parameters, in one worker.

    `repeat` counts the uses of the same code before this one, so that each draws for itself.
    """

    def __init__(self, spec: TransformSpec, *, root: Path, seed: int, repeat: int = 0) -> None:
        self._name = spec.use
        self._root = root
        self._draws = f"{spec.use}#{repeat}" if repeat else spec.use
        self._seed = seed
        self._batch_rows = spec.batch_rows
        self._call, self._params = _bind(spec, root)
        self._wants_rng = "rng" in inspect.signature(self._call).parameters

    def apply(self, columns: Columns, rows: NDArray[np.int64], epoch: int) -> Columns:
        """The transformed columns of these rows, in pieces of at most `batch_rows`.

        Raises:
            DataError: it raised, or did not return one entry a row for each column.
        """
        if not len(rows):
            return self._checked(columns, rows, epoch)
        size = self._batch_rows or len(rows)
        pieces = []
        for start in range(0, len(rows), size):
            part = {name: column[start : start + size] for name, column in columns.items()}
            pieces.append(self._checked(part, rows[start : start + size], epoch))
        return pieces[0] if len(pieces) == 1 else _concatenate(pieces, self._name)

    def _checked(self, columns: Columns, rows: NDArray[np.int64], epoch: int) -> Columns:
        params = dict(self._params)
        if self._wants_rng:
            params["rng"] = RowRandom(self._seed, epoch, rows, transform=self._draws)
        try:
            result = self._call(columns, **params)
        except Exception as error:  # the user's code may raise anything; it is named and passed on
            raise DataError(
                f"transform {self._name} failed on {_describe(rows)} of epoch {epoch}:"
                f" {type(error).__name__}: {error}{user_trace(error, self._root)}"
            ) from error
        return _check_result(result, rows, self._name)


def apply_all(
    transforms: Sequence[BoundTransform], columns: Columns, rows: NDArray[np.int64], epoch: int
) -> Columns:
    """The columns after all transforms, one after another."""
    for transform in transforms:
        columns = transform.apply(columns, rows, epoch)
    return columns


def _bind(spec: TransformSpec, root: Path) -> tuple[Callable[..., object], dict[str, object]]:
    symbol = resolve_symbol(spec.use, root)
    params: dict[str, object] = dict(spec.with_)
    if inspect.isclass(symbol):
        try:
            made = symbol(**params)
        except Exception as error:  # the user's code may raise anything; it is named and passed on
            raise SpecError(
                f"transform {spec.use}: cannot be constructed: {type(error).__name__}: {error}"
                f"{user_trace(error, root)}"
            ) from error
        if not callable(made):
            raise SpecError(f"transform {spec.use}: the class defines no __call__(self, batch)")
        return made, {}
    if not callable(symbol):
        raise SpecError(f"transform {spec.use}: is a {type(symbol).__name__}, wanted a callable")
    return symbol, params


def _check_result(result: object, rows: NDArray[np.int64], name: str) -> Columns:
    if not isinstance(result, dict) or not result:
        raise DataError(
            f"transform {name} returned {type(result).__name__}, wanted a dictionary of columns"
        )
    columns: Columns = {}
    for key, value in result.items():
        try:
            column = np.asarray(value)
        except Exception as error:  # a tensor on a GPU, rows of unequal length, ...
            raise DataError(
                f"transform {name}: column {key!r}, a {type(value).__name__}, is no array: {error}"
            ) from error
        if column.ndim == 0 or len(column) != len(rows):
            got = "a scalar" if column.ndim == 0 else f"{len(column)} rows"
            raise DataError(
                f"transform {name}: column {key!r} has {got} for {len(rows)} rows of input;"
                " a transform returns one entry a row, in the same order"
            )
        columns[str(key)] = column
    return columns


def _concatenate(pieces: Sequence[Columns], name: str) -> Columns:
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


def _describe(rows: NDArray[np.int64]) -> str:
    shown = ", ".join(str(row) for row in rows[:5])
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    return f"rows {shown}{more}"
