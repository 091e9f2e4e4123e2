"""All there is to show of a run: its summary, then its attempts, validations and troubles."""

import textwrap
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.report.happenings import of_event
from orchestrator.report.history import OUTCOMES, AttemptHistory
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
_NUMBER_WIDTH = len("1.25e-05")
_PLACE_WIDTH = len("  1,000,000  1.234e+05  ...  ")


def render_details(summary: RunSummary, *, now: float, width: int) -> Group:
    """Returns the summary of a run and its latest attempts, validations and troubles.

    Print it without cropping, so that paths can be copied whole.

    Args:
        now: Unix time in seconds.
    """
    head = render(summary, width=width)
    head.append("\n")
    for label, line in _times(summary, now):
        append_row(head, label, [line])
    head.rstrip()
    head.no_wrap, head.overflow = True, "ignore"
    parts: list[RenderableType] = [head]
    if attempts := summary.attempts:
        parts.append(_heading("attempts", len(attempts), MOST_ATTEMPTS))
        parts.append(_attempts(attempts[-MOST_ATTEMPTS:], width=width))
    if validations := summary.validations:
        parts.append(_heading("validations", len(validations), MOST_VALIDATIONS))
        parts.append(_validations(summary, validations[-MOST_VALIDATIONS:], width=width))
    if events := _unsaid(summary):
        parts.append(_heading("troubles", len(events), MOST_EVENTS))
        parts.append(_events(summary, events[-MOST_EVENTS:]))
    return Group(*parts)


def _times(summary: RunSummary, now: float) -> Iterable[tuple[str, str]]:
    if summary.attempts:
        first = summary.attempts[0].started_at
        yield "workers", f"{summary.attempts[-1].workers}"
        yield "started", f"{format_moment(first)}  ({format_age(now - first)})"
    if summary.last_at is not None:
        label = "last word" if summary.status.word in {"running", "died"} else "ended"
        yield label, f"{format_moment(summary.last_at)}  ({format_age(now - summary.last_at)})"


def _heading(title: str, count: int, most: int) -> Text:
    heading = Text("\n").append(title, style="bold")
    if count > most:
        heading.append(f"  the latest {most} of {count}", style="dim")
    return heading


def _attempts(attempts: Sequence[AttemptHistory], *, width: int) -> Text:
    """A line for each, and below it why it ended: in a column of its own that would be cramped."""
    number_width = len(f"{attempts[-1].number}")
    begun = [f"from {attempt.checkpoint or 'the beginning'}" for attempt in attempts]
    begun_width = max(map(len, begun))
    text = Text(no_wrap=True, overflow="ignore")
    for attempt, origin in zip(attempts, begun, strict=True):
        workers = f"{attempt.workers} worker" + "s" * (attempt.workers != 1)
        text.append(f"  {attempt.number:>{number_width}}  ", style="dim")
        text.append(f"{origin:<{begun_width}}  {format_moment(attempt.started_at)}  {workers}  ")
        text.append(attempt.outcome, style=style_of(attempt.outcome))
        preposition = "for" if attempt.outcome == "running" else "after"
        text.append(f" {preposition} {format_duration(attempt.seconds)}\n")
        for line in textwrap.wrap(one_line(attempt.reason or ""), width - number_width - 4):
            text.append(f"{'':<{number_width + 4}}{line}\n")
    text.rstrip()
    return text


def _unsaid(summary: RunSummary) -> list[Event]:
    """The events that no attempt's line tells already."""
    return [e for e in summary.events if e.attempt is None or e.event not in OUTCOMES]


def _validations(summary: RunSummary, validations: Sequence[Measured], *, width: int) -> Table:
    # The loss first, as everywhere; of a task that changed its metrics, those of all of them.
    names = sorted({name for measured in validations for name in measured.metrics})
    names.sort(key=lambda name: (name != "loss", name != summary.best_metric))
    mark = f"best {summary.best_metric}"
    shown = _fitting(names, width - _PLACE_WIDTH - len(mark))
    table = _grid()
    for name in ("step", "epoch", *shown, *(["..."] if len(shown) < len(names) else [])):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for measured in validations:
        best = summary.best is not None and measured.step == summary.best.step
        values = [measured.metrics.get(name) for name in shown]
        table.add_row(
            f"{measured.step:,}",
            f"{measured.step / summary.steps_per_epoch:.4g}",
            *("" if value is None else format_number(value) for value in values),
            *([""] if len(shown) < len(names) else []),
            Text(mark if best else "", style="green"),
        )
    return table


def _fitting(names: Sequence[str], width: int) -> list[str]:
    """The first of the names whose columns fit; the JSON has them all."""
    shown: list[str] = []
    for name in names:
        width -= max(len(name), _NUMBER_WIDTH) + 2
        if width >= 0:
            shown.append(name)
    return shown


def _events(summary: RunSummary, events: Sequence[Event]) -> Table:
    table = _grid()
    for heading in ("when", "what"):
        table.add_column(heading, no_wrap=True)
    table.add_column(overflow="fold")
    for event in events:
        happening = of_event(event, total_steps=summary.total_steps)
        details = happening.details
        if event.step is not None:
            details = f"step {event.step:,}  {details}".rstrip()
        table.add_row(format_moment(event.time), happening.word, details)
    return table


def _grid() -> Table:
    return Table(box=None, header_style="dim", padding=(0, 0, 0, 2))
