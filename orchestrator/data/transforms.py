"""Transforms of the user: what may be one, and how it is applied to the rows of a superblock."""

import inspect
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from orchestrator.data.blame import USER_ERRORS, UserCodeError
from orchestrator.data.codec import Columns
from orchestrator.data.fitted import FITTED_METHODS, FittedState, to_json
from orchestrator.data.random import RowRandom
from orchestrator.data.results import Joined, check_result
from orchestrator.errors import DataError, SpecError
from orchestrator.plan.origins import Origins
from orchestrator.plan.stream import StreamPlan
from orchestrator.spec.transform import TransformSpec
from orchestrator.symbols import resolve_symbol, user_trace


class Transform(Protocol):
    """A callable on a batch of numpy columns, each with one entry a row.

    Either a function `f(batch, **params)`, or a class that is constructed with the spec's `with`
    once in each worker and then called with batches. It returns as many rows as it got, in the same
    order, and may ask for `rng` by naming a parameter so. It need not keep the columns it got.

    A class that has `measure`, `fit` and `load` too is a `FittedTransform`.
    """

    def __call__(self, batch: Columns) -> Columns: ...


class BoundTransform:
    """One transform of the spec, resolved, with its parameters, in one worker.

    Args:
        repeat: counts the uses of the same code before this one, so that each draws for itself.
        state: of a fitted transform, which is loaded; without it, it can be fitted but not applied.
    """

    def __init__(
        self,
        spec: TransformSpec,
        *,
        root: Path,
        seed: int,
        repeat: int = 0,
        state: FittedState | None = None,
    ) -> None:
        self.name = spec.use
        self.kind = spec.kind
        self._root = root
        self._draws = f"{spec.use}#{repeat}" if repeat else spec.use
        self._seed = seed
        self._batch_rows = spec.batch_rows
        self._call, self._params = _bind(spec, root)
        self.wants_rng = "rng" in inspect.signature(self._call).parameters
        self.fitted = _is_fitted(self._call, spec.use)
        self._loaded = not self.fitted
        if state is not None:
            self._load(state)

    def apply(self, columns: Columns, origins: Origins, epoch: int) -> Columns:
        """The transformed columns of these samples, in pieces of at most `batch_rows`.

        Raises:
            UserCodeError: it raised.
            DataError: it did not return one entry a row for each column.
        """
        parts, joined = self.cut(len(origins)), Joined(len(origins), self.name)
        for part in parts:
            given, taken = origins.take(part), {key: value[part] for key, value in columns.items()}
            result = self.call(taken, given, epoch, part.start)
            piece = check_result(result, len(given), self.name)
            if len(parts) == 1:
                return piece
            joined.add(piece)
        return joined.columns

    def cut(self, rows: int) -> list[slice]:
        """The pieces in which so many rows are given to it; one of none, where there are none."""
        size = self._batch_rows or max(1, rows)
        return [slice(start, start + size) for start in range(0, max(1, rows), size)]

    def call(self, columns: Columns, origins: Origins, epoch: int, start: int) -> object:
        """What the user's code returns for a piece, which begins at `start` of all rows at hand.

        Raises:
            UserCodeError: it raised.
        """
        if not self._loaded:
            raise DataError(f"transform {self.name} is a fitted one, but nothing has been fitted")
        params = dict(self._params)
        if self.wants_rng:
            epoch = origins.draw_epoch(epoch)
            params["rng"] = RowRandom(self._seed, epoch, origins.draw_keys(), transform=self._draws)
        try:
            return self._call(columns, **params)
        except USER_ERRORS as error:  # the user's code may raise anything; it is passed on
            raise UserCodeError(
                f"transform {self.name}",
                error,
                root=self._root,
                start=start,
                stop=start + len(origins),
            ) from error

    def measure(self, columns: Columns) -> object:
        """A fitted transform's summary of a piece of the rows.

        Raises:
            UserCodeError: it raised.
        """
        rows = len(next(iter(columns.values())))
        return self._use("measure", columns, rows=rows)

    def fit(self, measures: Iterable[object]) -> str:
        """A fitted transform's state as JSON, from all summaries in the order of the data.

        Raises:
            DataError: it raised, or the state is none that JSON can hold.
        """
        try:
            state = self._use("fit", measures)
        except UserCodeError as failed:
            raise failed.told() from failed.error
        return to_json(state, name=self.name)

    def _load(self, state: FittedState) -> None:
        try:
            self._use("load", json.loads(state.text))
        except UserCodeError as failed:
            raise failed.told() from failed.error
        self._loaded = True

    def _use(self, method: str, given: object, *, rows: int = 0) -> object:
        """What one of a fitted transform's own methods returns."""
        try:
            return getattr(self._call, method)(given)
        except USER_ERRORS as error:  # the user's code may raise anything; it is passed on
            raise UserCodeError(
                f"transform {self.name}: {method}", error, root=self._root, start=0, stop=rows
            ) from error


def bind_transforms(
    stream: StreamPlan, numbers: range, *, root: Path, fitted: Sequence[FittedState]
) -> list[BoundTransform]:
    """Some of a stream's transforms, by their numbers from 0 through all stages, ready to be used.

    Args:
        fitted: the states of the fitted ones among them.
    """
    specs = stream.transforms
    positions = [position for stage in stream.stages for position in stage.positions]
    uses = [spec.use for spec in specs]
    states = {state.position: state for state in fitted}
    return [
        BoundTransform(
            specs[number],
            root=root,
            seed=stream.seed,
            repeat=uses[:number].count(uses[number]),
            state=states.get(positions[number]),
        )
        for number in numbers
    ]


def apply_all(
    transforms: Sequence[BoundTransform], columns: Columns, origins: Origins, epoch: int
) -> Columns:
    """The columns after all transforms, one after another."""
    for transform in transforms:
        columns = transform.apply(columns, origins, epoch)
    return columns


def in_pieces(call: Callable[[slice], Columns], part: slice, *, rows: int, name: str) -> Columns:
    """What the transforms make of a part of the rows at hand, some rows at a time.

    Args:
        call: the transforms, for rows of the part.
        name: the last transform's.

    Raises:
        UserCodeError: it raised; its rows are counted from the start of the part.
    """
    if part.stop - part.start <= rows:
        return call(part)
    joined = Joined(part.stop - part.start, name)
    for start in range(part.start, part.stop, rows):
        try:
            joined.add(call(slice(start, min(start + rows, part.stop))))
        except UserCodeError as error:
            error.start += start - part.start
            error.stop += start - part.start
            raise
    return joined.columns


def _bind(spec: TransformSpec, root: Path) -> tuple[Callable[..., object], dict[str, object]]:
    symbol = resolve_symbol(spec.use, root)
    params: dict[str, object] = dict(spec.with_)
    if inspect.isclass(symbol):
        try:
            made = symbol(**params)
        except USER_ERRORS as error:  # the user's code may raise anything; it is named, passed on
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


def _is_fitted(call: object, name: str) -> bool:
    """Whether it is an object with all methods of a fitted transform."""
    if inspect.isroutine(call):
        return False
    has = [method for method in FITTED_METHODS if callable(getattr(call, method, None))]
    lacks = [method for method in FITTED_METHODS if method not in has]
    if has and lacks:
        raise SpecError(
            f"transform {name}: has {' and '.join(has)} but no {' and no '.join(lacks)}",
            hint="a fitted transform has measure, fit and load; any other transform has none of"
            " them, so that a method of its own needs another name",
        )
    return not lacks
