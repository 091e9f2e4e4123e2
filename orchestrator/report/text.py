"""Numbers and foreign text as one reads them in a terminal."""

import textwrap
from collections.abc import Mapping

from rich.text import Text

from orchestrator.units import format_duration

LONGEST_MESSAGE = 240
"""How many characters of a foreign message fit into a line about it."""


def format_number(value: float) -> str:
    """Returns a measured value with four significant digits: 0.9722, 1.25e-05, 1342, nan."""
    if 1000 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def format_metrics(metrics: Mapping[str, float]) -> list[str]:
    """Returns "name value" for each metric, the loss first."""
    names = sorted(metrics, key=lambda name: name != "loss")
    return [f"{name} {format_number(metrics[name])}" for name in names]


def format_share(share: float) -> str:
    """Returns a share of 0 to 1 in percent: 0%, 0.4%, 12%."""
    percent = 100 * share
    return f"{percent:.1f}%" if 0.05 <= percent < 9.95 else f"{percent:.0f}%"


def format_rate(rows_per_s: float) -> str:
    """Returns a throughput with its unit."""
    return f"{format_number(rows_per_s)} rows/s"


def format_whole_seconds(seconds: float) -> str:
    """Returns a duration that is read while it changes: no tenths, and never nothing."""
    return format_duration(max(1, round(seconds)))


def one_line(message: str) -> str:
    """Returns a foreign message without colours and line ends, and not too long."""
    plain = Text.from_ansi(message).plain
    return textwrap.shorten(plain, LONGEST_MESSAGE, placeholder=" ...")
