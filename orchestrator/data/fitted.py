"""Fitted transforms: what they learn from the training rows, as JSON that people can read."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue

from orchestrator.data.codec import Columns
from orchestrator.errors import DataError

PREPROCESSING_FILE = "preprocessing.json"
FITTED_METHODS = ("measure", "fit", "load")

State = Mapping[str, JsonValue]

# A list that contains itself would else be followed for ever.
_DEEPEST = 50


class FittedTransform(Protocol):
    """A transform that learns from the training rows before training, as a mean to subtract.

    A class with these methods beside `__call__`. The training rows are read once, in the order of
    the files and in pieces that depend on the data alone; each piece is measured by one of the
    preprocessing workers, after the transforms before this one, and the summaries are merged in
    the order of the data. So the state is the same to the bit for any number of workers.

    The state is applied to every split that the spec names. It is kept in `preprocessing.json`, in
    the run's directory and in every checkpoint, and a resumed run takes it from there.
    """

    def measure(self, batch: Columns) -> object:
        """A small summary of a piece of the rows; it must survive pickling."""

    def fit(self, measures: Iterable[object]) -> State:
        """The state, of all summaries in the order of the data; runs once, in the driver.

        It is a dictionary of what JSON has: text, finite numbers, booleans, None, lists and
        dictionaries with keys of text.
        """

    def load(self, state: State) -> None:
        """Takes the state, once in each worker, before the first call."""

    def __call__(self, batch: Columns) -> Columns:
        """Transforms a batch, as any transform does; may ask for `rng`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedState:
    """What one transform has learnt, as JSON text, so that everybody reads the same values.

    `position` is its number among the transforms of the training rows, from 1.
    """

    use: str
    position: int
    text: str


def to_json(state: object, *, name: str) -> str:
    """The state as JSON text.

    Args:
        name: of the transform, for messages.

    Raises:
        DataError: it is no dictionary, or holds what JSON does not have.
    """
    if not isinstance(state, dict):
        raise DataError(
            f"transform {name}: fit returned {_kind(state)}, wanted a dictionary of JSON values"
        )
    _check(state, name)
    try:
        return json.dumps(state, allow_nan=False)
    except ValueError as error:  # a whole number of thousands of digits
        raise DataError(f"transform {name}: fit returned what JSON cannot hold: {error}") from error


def dump_states(states: Sequence[FittedState]) -> str:
    """The states of all fitted transforms as the text of `preprocessing.json`."""
    transforms = [
        {"use": fitted.use, "position": fitted.position, "state": json.loads(fitted.text)}
        for fitted in states
    ]
    return json.dumps({"transforms": transforms}, indent=1) + "\n"


def parse_states(text: str) -> tuple[FittedState, ...]:
    """The states again.

    Raises:
        ValueError: the text is not what `dump_states` writes.
    """
    try:
        return tuple(
            FittedState(
                use=str(entry["use"]),
                position=int(entry["position"]),
                text=json.dumps(entry["state"], allow_nan=False),
            )
            for entry in json.loads(text)["transforms"]
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no list of states: {type(error).__name__}: {error}") from error


def _check(value: object, name: str, place: str = "state", depth: int = 0) -> None:
    """Raises DataError at the first place that holds what JSON does not have."""
    where = f"transform {name}: fit returned a state of which {place}"
    if depth > _DEEPEST:
        raise DataError(
            f"transform {name}: fit returned a state that is more than {_DEEPEST} levels deep"
        )
    match value:
        case dict():
            for key, inner in value.items():
                if not isinstance(key, str):
                    raise DataError(f"{where} has the key {key!r}, {_kind(key)}; wanted text")
                _check(inner, name, f"{place}[{key!r}]", depth + 1)
        case list() | tuple():
            for number, inner in enumerate(value):
                _check(inner, name, f"{place}[{number}]", depth + 1)
        case float() if not math.isfinite(value):
            raise DataError(f"{where} is {float(value)}; JSON has finite numbers only")
        case None | bool() | int() | float() | str():
            return
        case _:
            raise DataError(
                f"{where} is {_kind(value)}; wanted text, a number, a boolean, None, a list or a"
                " dictionary",
                hint="float(x), int(x) or x.tolist() makes one of NumPy's values",
            )


def _kind(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
