"""A table as a network wants it: numbers on one scale, categories as codes, gaps told apart.

What it takes for that is fitted on the training rows and applied to both splits.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, TypedDict

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Batch = dict[str, np.ndarray]
    # What a category is: text or a whole number, as Parquet has it.
    Value = str | int | float

# Neither month nor day: the months of the validation never occur in training.
NUMBERS = (
    "departs",
    "arrives",
    "takes",
    "distance",
    "plane_year",
    "seats",
    "temp",
    "dewp",
    "humid",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
)
# The direction of the wind comes in tens of degrees: 360 is next to 10, so it is no number.
CATEGORIES = (
    "weekday",
    "hour",
    "carrier",
    "origin",
    "dest",
    "manufacturer",
    "engine",
    "wind_dir",
)
LABEL = "late"
# The codes of a category: a gap, then what was rare in training or never seen there, then values.
MISSING, OTHER, FIRST = 0, 1, 2
# All codes of a category are below this: where it has more values, the most frequent get one. It is
# fixed, so that the network has its size before any data is read.
CODES_PER_CATEGORY = 128


class Scale(TypedDict):
    """Of one column of numbers: what becomes 0, and what is one unit."""

    mean: float
    std: float


class FeaturesState(TypedDict):
    """All that was fitted; the codes of a category's values follow the order of its list."""

    numbers: dict[str, Scale]
    categories: dict[str, list[Value]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """How many numbers there are, their mean, and the sum of their squared distances from it."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def plus(self, other: Moments) -> Moments:
        """Of both together (Chan et al. 1983); sums of squares would cancel each other out."""
        count = self.count + other.count
        if not count:
            return self
        apart = other.mean - self.mean
        share = other.count / count
        return Moments(
            count=count,
            mean=self.mean + apart * share,
            squares=self.squares + other.squares + apart * apart * self.count * share,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a piece of the rows says about each column."""

    numbers: dict[str, Moments]
    categories: dict[str, Counter[Value]]


class Features:
    """Makes `numbers` [rows, 2 x numbers] and `codes` [rows, categories]; keeps the label.

    A number becomes its distance from the mean in standard deviations, a gap becomes the mean; as
    many columns follow that are 1 where there was a gap. A category becomes a code.

    Args:
        min_count: values of a category that fewer training rows have share one code.
        numbers: columns of numbers.
        categories: columns of text or whole numbers.
        label: column that is passed on.
    """

    def __init__(
        self,
        min_count: int = 1,
        *,
        numbers: Sequence[str] = NUMBERS,
        categories: Sequence[str] = CATEGORIES,
        label: str = LABEL,
    ) -> None:
        if min_count < 1:
            raise ValueError(f"min_count must be at least 1, got {min_count}")
        self.min_count = min_count
        self.numbers = tuple(numbers)
        self.categories = tuple(categories)
        self.label = label
        # What `load` takes over.
        self.means = np.empty(0)
        self.stds = np.empty(0)
        self.codes_of: list[dict[Value | None, int]] = []

    def measure(self, batch: Batch) -> Measured:
        """Count, mean and spread of the numbers there are, and how often each value occurs."""
        return Measured(
            numbers={name: moments(batch[name]) for name in self.numbers},
            categories={name: count_values(batch[name]) for name in self.categories},
        )

    def fit(self, measures: Iterable[Measured]) -> FeaturesState:
        """The scale of each column of numbers and the values of each category that get a code."""
        pieces = list(measures)
        scales = {
            name: scale(reduce(Moments.plus, (piece.numbers[name] for piece in pieces), Moments()))
            for name in self.numbers
        }
        values = {}
        for name in self.categories:
            total: Counter[Value] = Counter()
            for piece in pieces:
                total.update(piece.categories[name])
            values[name] = frequent(total, min_count=self.min_count)
        return {"numbers": scales, "categories": values}

    def load(self, state: FeaturesState) -> None:
        """Take over what `fit` returned."""
        scales = [state["numbers"][name] for name in self.numbers]
        self.means = np.array([column["mean"] for column in scales])
        self.stds = np.array([column["std"] for column in scales])
        self.codes_of = [
            {None: MISSING}
            | {value: code for code, value in enumerate(state["categories"][name], FIRST)}
            for name in self.categories
        ]

    def __call__(self, batch: Batch) -> Batch:
        """Numbers as float32, codes as int64."""
        rows = len(batch[self.label])
        raw = stack([batch[name] for name in self.numbers], rows=rows, dtype=np.float64)
        gaps = np.isnan(raw)
        scaled = np.where(gaps, 0.0, (raw - self.means) / self.stds)
        coded = [
            np.array([codes.get(value, OTHER) for value in values_of(batch[name])], dtype=np.int64)
            for name, codes in zip(self.categories, self.codes_of, strict=True)
        ]
        return {
            "numbers": np.concatenate([scaled, gaps], axis=1, dtype=np.float32),
            "codes": stack(coded, rows=rows, dtype=np.int64),
            self.label: batch[self.label],
        }


def moments(column: np.ndarray) -> Moments:
    """Of the numbers that are there."""
    there = column[~np.isnan(column)].astype(np.float64)
    if not len(there):
        return Moments()
    mean = float(there.mean())
    return Moments(count=len(there), mean=mean, squares=float(((there - mean) ** 2).sum()))


def scale(total: Moments) -> Scale:
    """Mean and deviation; a column without numbers, or with one number only, stays as it is."""
    std = math.sqrt(total.squares / total.count) if total.count else 0.0
    return {"mean": total.mean, "std": std or 1.0}


def count_values(column: np.ndarray) -> Counter[Value]:
    """How many rows have each value, gaps aside."""
    return Counter(value for value in values_of(column) if value is not None)


def values_of(column: np.ndarray) -> list[Value | None]:
    """The entries as Python's own; whole numbers with gaps come as floats, their gaps as NaN."""
    values: list[Value | None] = column.tolist()
    if column.dtype.kind == "f":
        return [None if value != value else value for value in values]
    return values


def frequent(counts: Mapping[Value, int], *, min_count: int) -> list[Value]:
    """The values with at least that count, sorted; of too many the most frequent ones."""
    ranked = sorted((-count, value) for value, count in counts.items() if count >= min_count)
    return sorted(value for _, value in ranked[: CODES_PER_CATEGORY - FIRST])


def stack(columns: Sequence[np.ndarray], *, rows: int, dtype: type[np.generic]) -> np.ndarray:
    """The columns side by side [rows, columns], also where there is no column."""
    side_by_side = np.empty((rows, len(columns)), dtype=dtype)
    for number, column in enumerate(columns):
        side_by_side[:, number] = column
    return side_by_side
