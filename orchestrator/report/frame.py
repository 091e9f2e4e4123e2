"""What the progress display draws on a terminal: the bar, and below it how it goes."""

from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from orchestrator.report.records import TrainRecord
from orchestrator.report.text import (
    format_number,
    format_rate,
    format_share,
    format_whole_seconds,
)

WIDEST = 100
"""Columns that the bar takes at most; beyond, it would only be far from its numbers."""
SILENT_AFTER_S = 10.0
"""For how long nothing must be reported, and three times as long as usual, to be worth saying."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that a frame shows, as of one moment.

    Attributes:
        step: how many steps of the run are done.
        phase: what goes on instead of training, None while it trains.
        since: when the phase began or the record came, by the display's clock.
        record: the newest record of this attempt, None before the first.
        eta_s: how long the rest will take, None where unknown.
        usual_s: the usual time between two records.
    """

    step: int = 0
    phase: str | None = None
    since: float = 0.0
    record: TrainRecord | None = None
    eta_s: float | None = None
    usual_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLength:
    """How long the whole run is; its last epoch may be cut short.

    Its texts keep their width through the run, so that what stands after them does not jump.
    """

    total_steps: int
    steps_per_epoch: int
    epochs: int

    def epoch_of(self, step: int) -> str:
        """Returns the epoch that a step belongs to, counted from 1: "epoch  3/10"."""
        epoch = min(max(0, step - 1) // self.steps_per_epoch + 1, self.epochs)
        return f"epoch {epoch:>{len(str(self.epochs))}}/{self.epochs}"

    def step_of(self, step: int) -> str:
        """Returns the step and how many there are: "step   230/4,400"."""
        total = f"{self.total_steps:,}"
        return f"step {step:>{len(total)},}/{total}"


def facts(view: View) -> list[str]:
    """Returns the numbers of the newest record, each with its unit; none before it."""
    if view.record is None:
        return []
    numbers = [
        f"loss {format_number(view.record.loss)}",
        format_rate(view.record.rows_per_s),
        f"data wait {format_share(view.record.wait_share)}",
    ]
    return numbers if not view.eta_s else [*numbers, f"ETA {format_whole_seconds(view.eta_s)}"]


def draw(view: View, length: RunLength, *, now: float, console: Console, spinner: Spinner) -> Group:
    """Returns a frame; the spinner is kept by the caller, because it remembers where it was."""
    lines: list[RenderableType] = []
    if view.step > 0 or view.record is not None:
        lines.append(_bar(view.step, length, width=min(console.width, WIDEST)))
    if view.phase is not None:
        seconds = int(now - view.since)
        so_far = f"  {format_whole_seconds(seconds)}" if seconds > 0 else ""
        spinner.update(text=Text(view.phase).append(so_far, style="dim"))
        lines.append(spinner)
    elif view.record is not None:
        lines.append(_numbers(view, now=now))
    return Group(*lines)


def _bar(step: int, length: RunLength, *, width: int) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.width = width
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_row(
        length.epoch_of(step),
        ProgressBar(total=length.total_steps, completed=step),
        length.step_of(step),
        f"{100 * step // length.total_steps:>3}%",
    )
    return table


def _numbers(view: View, *, now: float) -> Text:
    line = Text("  ".join(facts(view)), no_wrap=True, overflow="ellipsis")
    silent_s = now - view.since
    if silent_s > max(SILENT_AFTER_S, 3 * view.usual_s):
        line.append(f"  no step for {format_whole_seconds(silent_s)}", style="yellow")
    return line
