"""All there is to show of a run: its summary, then its attempts, validations and troubles."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.report.happenings import of_event
from orchestrator.report.history import AttemptHistory
from orchestrator.report.records import Event
from orchestrator.report.render import append_row, render
from orchestrator.report.summary import Measured, RunSummary
from orchestrator.report.text import (
    format_age,
    format_moment,
    format_number,
    one_line,
    style_of,
)
from orchestrator.units import format_duration

MOST_ATTEMPTS = 8
MOST_VALIDATIONS = 8
MOST_EVENTS = 10


def render_details(summary: RunSummary, *, now: float, width: int) -> Group:
    """Returns the summary of a run and its latest attempts, validations and troubles.

    Args:
        now: Unix time in seconds.
    """
    head = render(summary, width=width)
    head.append("\n")
    for label, line in _times(summary, now):
        append_row(head, label, [line])
    head.rstrip()
    parts: list[RenderableType] = [head]
    if summary.attempts:
        parts += _section("attempts", len(summary.attempts), MOST_ATTEMPTS)
        parts.append(_attempts(summary.attempts[-MOST_ATTEMPTS:]))
    if summary.validations:
        parts += _section("validations", len(summary.validations), MOST_VALIDATIONS)
        parts.append(_validations(summary, summary.validations[-MOST_VALIDATIONS:]))
    if summary.events:
        parts += _section("troubles", len(summary.events), MOST_EVENTS)
        parts.append(_events(summary, summary.events[-MOST_EVENTS:]))
    return Group(*parts)


def _times(summary: RunSummary, now: float) -> Iterable[tuple[str, str]]:
    if summary.attempts:
        first = summary.attempts[0].started_at
        yield "workers", f"{summary.attempts[-1].workers}"
        yield "started", f"{format_moment(first)}  ({format_age(now - first)})"
    if summary.last_at is not None:
        label = "last word" if summary.status.word in {"running", "died"} else "ended"
        yield label, f"{format_moment(summary.last_at)}  ({format_age(now - summary.last_at)})"


def _section(title: str, count: int, most: int) -> list[RenderableType]:
    heading = Text(f"\n{title}", style="bold")
    if count > most:
        heading.append(f"  the latest {most} of {count}", style="not bold dim")
    return [heading, Text()]


def _grid(*headings: str) -> Table:
    """A table without lines; the columns of numbers are those with a heading that ends in a dot."""
    table = Table(box=None, header_style="dim", padding=(0, 0, 0, 2), show_edge=True)
    for heading in headings:
        number = heading.endswith(".")
        table.add_column(
            heading.rstrip("."),
            justify="right" if number else "left",
            overflow="fold",
            no_wrap=number,
        )
    return table


def _attempts(attempts: Sequence[AttemptHistory]) -> Table:
    table = _grid("no.", "began with", "workers.", "started", "took.", "ended")
    for attempt in attempts:
        ended = Text(attempt.outcome, style=style_of(attempt.outcome))
        if attempt.reason is not None:
            ended.append(f": {one_line(attempt.reason)}", style="default not bold")
        table.add_row(
            f"{attempt.number}",
            attempt.checkpoint or "nothing",
            f"{attempt.workers}",
            format_moment(attempt.started_at),
            format_duration(attempt.seconds),
            ended,
        )
    return table


def _validations(summary: RunSummary, validations: Sequence[Measured]) -> Table:
    # The loss first, as everywhere; of a task that changed its metrics, those of all of them.
    names = sorted({name for measured in validations for name in measured.metrics})
    names.sort(key=lambda name: name != "loss")
    table = _grid("step.", "epoch.", *(f"{name}." for name in names), "")
    for measured in validations:
        best = summary.best is not None and measured.step == summary.best.step
        table.add_row(
            f"{measured.step:,}",
            f"{measured.step / summary.steps_per_epoch:.4g}",
            *(
                format_number(measured.metrics[name]) if name in measured.metrics else ""
                for name in names
            ),
            Text(f"best {summary.best_metric}" if best else "", style="green"),
        )
    return table


def _events(summary: RunSummary, events: Sequence[Event]) -> Table:
    table = _grid("when", "what", "")
    for event in events:
        happening = of_event(event, total_steps=summary.total_steps)
        details = happening.details
        if event.step is not None:
            details = f"step {event.step:,}  {details}".rstrip()
        table.add_row(format_moment(event.time), happening.word, details)
    return table
