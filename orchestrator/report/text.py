"""Numbers and foreign text as one reads them in a terminal."""

import textwrap
import time
from collections.abc import Mapping

from rich.text import Text

from orchestrator.units import format_duration

LONGEST_MESSAGE = 240
"""How many characters of a foreign message fit into a line about it."""

STATUS_STYLES = {"running": "bold cyan", "finished": "bold green", "interrupted": "bold yellow"}
_AGES = ((86400, "d"), (3600, "h"), (60, "m"))


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


def format_age(seconds: float) -> str:
    """Returns how long ago something was, in one unit: just now, 35s ago, 12m ago, 3d ago."""
    # Less than nothing where the clock of another machine is ahead of ours.
    if seconds < 5:
        return "just now"
    size, unit = next(((size, unit) for size, unit in _AGES if seconds >= size), (1, "s"))
    return f"{int(seconds // size)}{unit} ago"


def format_moment(time_s: float) -> str:
    """Returns a moment by the clock on the wall here, from Unix time in seconds."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_s))


def format_progress(done: float, total: float) -> str:
    """Returns how much of a whole is done, with at most two decimals: 460/460, 1.5/20."""
    return f"{_short(done)}/{_short(total)}"


def style_of(status: str) -> str:
    """Returns the colour of a run's status."""
    return STATUS_STYLES.get(status, "bold red")


def one_line(message: str) -> str:
    """Returns a foreign message without colours and line ends, and not too long."""
    plain = Text.from_ansi(message).plain
    return textwrap.shorten(plain, LONGEST_MESSAGE, placeholder=" ...")


def _short(value: float) -> str:
    return f"{value:,.2f}".rstrip("0").rstrip(".")
