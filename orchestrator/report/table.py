"""A list of runs as a table for people."""

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
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


def render_table(rows: Sequence[RunRow | DamagedRow], *, now: float) -> Group:
    """Returns the runs, one a line, and below them what is wrong with the damaged ones.

    Args:
        now: Unix time in seconds.
    """
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("run", overflow="fold")
    table.add_column("status", no_wrap=True)
    for heading in ("steps", "epochs"):
        table.add_column(heading, justify="right", no_wrap=True)
    # What is cut where the terminal is narrow: `show` has all of it.
    table.add_column("measured", overflow="ellipsis", no_wrap=True)
    table.add_column("last word", no_wrap=True)
    for heading in ("tries", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(_cells(row, now) if isinstance(row, RunRow) else _damaged(row, now)))
    notes = [Text(f"\n{row.name}: {row.reason}") for row in rows if isinstance(row, DamagedRow)]
    return Group(table, *notes)


def _cells(row: RunRow, now: float) -> list[str | Text]:
    return [
        row.name,
        Text(row.status.word, style=style_of(row.status.word)),
        format_progress(row.steps, row.total_steps),
        format_progress(row.steps / row.steps_per_epoch, row.total_steps / row.steps_per_epoch),
        _measured(row),
        format_age(now - row.last_at),
        f"{row.attempts}",
        format_bytes(row.size),
    ]


def _damaged(row: DamagedRow, now: float) -> list[str | Text]:
    status = Text("damaged", style=style_of("damaged"))
    return [row.name, status, "", "", "", format_age(now - row.last_at), "", ""]


def _measured(row: RunRow) -> str:
    if row.metrics:
        return "  ".join(format_metrics(row.metrics))
    return "" if row.loss is None else f"training loss {format_number(row.loss)}"
