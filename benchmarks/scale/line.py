"""A line of the tables: a cost of one unit as measured, and what it comes to at the full size."""

from collections.abc import Iterable
from dataclasses import dataclass

WORKERS = 1_000
READERS = 10_000
ROWS = 10**12
FRAGMENTS = 10**6


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """What was measured, on how much, its value, and that for 1,000 workers and 10^12 rows."""

    what: str
    measured: str
    at_scale: str


def table(title: str, lines: Iterable[Line]) -> str:
    """The lines as a table in Markdown."""
    rows = [f"| {line.what} | {line.measured} | {line.at_scale} |" for line in lines]
    head = [f"| {title} | measured | 1,000 workers, 10^12 rows |", "| --- | ---: | ---: |"]
    return "\n".join([*head, *rows])


def seconds(value: float) -> str:
    """A time in the unit that suits it."""
    for limit, unit, factor in ((1e-3, "us", 1e6), (1.0, "ms", 1e3), (300.0, "s", 1.0)):
        if value < limit:
            return f"{value * factor:.3g} {unit}"
    hours = value / 3600
    return f"{value / 60:.0f} min" if hours < 2 else f"{hours:,.0f} h"


def size(value: float) -> str:
    """A number of bytes in the unit that suits it."""
    for limit, unit in ((1e3, "B"), (1e6, "KB"), (1e9, "MB"), (1e12, "GB"), (1e15, "TB")):
        if value < limit:
            return f"{value / limit * 1e3:.3g} {unit}"
    return f"{value / 1e15:.3g} PB"
