"""A list of runs as a table for people."""

from collections.abc import Mapping, Sequence

from rich.text import Text

from orchestrator.report.row import DamagedRow, RunRow
from orchestrator.report.text import (
    format_age,
    format_metrics,
    format_number,
    format_progress,
    style_of,
)
from orchestrator.units import format_bytes

_HEADINGS = ("run", "status", "steps", "epochs", "attempts", "size", "last word", "measured")
_NUMBERS = frozenset({"steps", "epochs", "attempts", "size"})
# Where a terminal is too narrow for all, these go first: a run is judged by what it measures.
_DISPENSABLE = ("size", "attempts", "epochs")

_Cells = dict[str, str]


def render_table(rows: Sequence[RunRow | DamagedRow], *, now: float, width: int) -> Text:
    """Returns the runs, one a line, and below them what is wrong with the damaged ones.

    What is too wide loses columns and metrics: `show` has them all. Only long names make a line
    longer than `width`.

    Args:
        now: Unix time in seconds.
    """
    lines = [_cells(row, now) if isinstance(row, RunRow) else _damaged(row, now) for row in rows]
    measured = [_measured(row) for row in rows]
    widths = {name: max(len(name), *(len(line[name]) for line in lines)) for name in _HEADINGS[:-1]}
    wanted = max((len(items[0]) + len("  ...") for items in measured if items), default=0)
    for name in _DISPENSABLE:
        if _room(widths, width) < wanted:
            del widths[name]
    room = _room(widths, width)
    heading = "  ".join(_padded(name, name, size) for name, size in widths.items())
    text = Text(f"{heading}  {_HEADINGS[-1] if wanted <= room else ''}".rstrip(), style="dim")
    text = Text().append_text(text)
    for line, items in zip(lines, measured, strict=True):
        text.append("\n")
        for name, size in widths.items():
            style = style_of(line[name]) if name == "status" else ""
            text.append(_padded(name, line[name], size), style=style).append("  ")
        text.append(_fitting(items, room))
        text.rstrip()
    for row in rows:
        if isinstance(row, DamagedRow):
            text.append(f"\n\n{row.name}: {row.reason}")
    return text


def _room(widths: Mapping[str, int], width: int) -> int:
    return width - sum(widths.values()) - 2 * len(widths)


def _padded(name: str, cell: str, width: int) -> str:
    return f"{cell:>{width}}" if name in _NUMBERS else f"{cell:<{width}}"


def _fitting(items: Sequence[str], room: int) -> str:
    """As many of the items as there is room for, and a sign where that is not all."""
    shown = "  ".join(items)
    kept = len(items)
    while kept and len(shown) > room:
        kept -= 1
        shown = "  ".join([*items[:kept], "..."])
    return shown if kept else ""


def _cells(row: RunRow, now: float) -> _Cells:
    per_epoch = row.steps_per_epoch
    return {
        "run": row.name,
        "status": row.status.word,
        "steps": format_progress(row.steps, row.total_steps),
        "epochs": format_progress(row.steps / per_epoch, row.total_steps / per_epoch),
        "attempts": f"{row.attempts}",
        "size": format_bytes(row.size),
        "last word": format_age(now - row.last_at),
    }


def _damaged(row: DamagedRow, now: float) -> _Cells:
    known = {"run": row.name, "status": "damaged", "last word": format_age(now - row.last_at)}
    return {name: known.get(name, "") for name in _HEADINGS[:-1]}


def _measured(row: RunRow | DamagedRow) -> list[str]:
    if isinstance(row, DamagedRow):
        return []
    if row.metrics:
        return format_metrics(row.metrics)
    return [] if row.loss is None else [f"training loss {format_number(row.loss)}"]
