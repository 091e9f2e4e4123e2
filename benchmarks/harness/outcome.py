"""What a benchmark found: figures, ratios held against their targets, and notes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks.harness.repeat import Series


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a benchmark is to be run: `quick` ones only guard against regressions.

    `folder` keeps what is prepared once, such as data files.
    """

    folder: Path
    rounds: int = 5
    quick: bool = False


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured quantity, such as a contender's rows a second; `values` has one a round.

    By its name it is ours, a limit's or a peer's: see benchmarks/harness/kinds.py.
    """

    name: str
    unit: str
    values: tuple[float, ...]

    @property
    def series(self) -> Series:
        return Series(self.values)


@dataclass(frozen=True, kw_only=True)
class Check:
    """A ratio and what it should be: `values` has one a round, or is a single one.

    `target` None is for a ratio that is shown, but nothing is promised of it.
    """

    name: str
    values: tuple[float, ...]
    target: float | None
    sense: Literal[">=", "<="] = ">="

    @property
    def series(self) -> Series:
        return Series(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median meets the target; None where there is none."""
        if self.target is None:
            return None
        median = self.series.median
        return median >= self.target if self.sense == ">=" else median <= self.target


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a benchmark; `notes` are sentences that a reader of the figures needs."""

    name: str
    title: str
    figures: Sequence[Figure] = field(default_factory=tuple)
    checks: Sequence[Check] = field(default_factory=tuple)
    notes: Sequence[str] = field(default_factory=tuple)


def figure(name: str, unit: str, series: Series) -> Figure:
    return Figure(name=name, unit=unit, values=series.values)


def at_least(name: str, series: Series, target: float | None) -> Check:
    return Check(name=name, values=series.values, target=target)


def at_most(name: str, series: Series, target: float | None) -> Check:
    return Check(name=name, values=series.values, target=target, sense="<=")
