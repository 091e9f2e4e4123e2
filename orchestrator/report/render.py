"""The summary of a run as text for people."""

import textwrap
from collections.abc import Iterable, Sequence

from rich.text import Text

from orchestrator.report.faults import in_words
from orchestrator.report.mirror import mirror_trouble
from orchestrator.report.summary import Measured, RunSummary
from orchestrator.report.text import format_metrics, format_rate, format_share, style_of
from orchestrator.units import format_bytes, format_duration

LABEL_WIDTH = 13
_MOST_CHECKPOINTS = 6


def render(summary: RunSummary, *, width: int = 80) -> Text:
    """Returns the summary as lines of at most `width` columns; only paths may be longer.

    Print it with a soft wrap, so that paths can be copied whole.
    """
    text = Text()
    text.append(summary.name, style="bold")
    text.append(f"  {summary.status.word}\n\n", style=style_of(summary.status.word))
    for label, lines in _rows(summary, width=width - LABEL_WIDTH - 2):
        append_row(text, label, lines)
    text.rstrip()
    return text


def append_row(text: Text, label: str, lines: Sequence[str]) -> None:
    """Adds lines to a text, the first one behind a label."""
    for number, line in enumerate(lines):
        text.append(f"  {label if number == 0 else '':<{LABEL_WIDTH}}", style="dim")
        text.append(f"{line}\n")


def flow(items: Iterable[str], width: int) -> list[str]:
    """Returns the items on as few lines as hold them without breaking one."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + 2 + len(item) <= width:
            lines[-1] += f"  {item}"
        else:
            lines.append(item)
    return lines


def _rows(summary: RunSummary, *, width: int) -> Iterable[tuple[str, Sequence[str]]]:
    if summary.status.reason is not None:
        label = "running" if summary.status.word == "running" else "why"
        yield label, _folded(summary.status.reason, width)
    yield "trained", flow(_trained(summary), width)
    if summary.last is not None:
        yield "validation", flow(_validation(summary.last), width)
    if summary.best is not None and summary.best != summary.last:
        best = _validation(summary.best, note=f", best {summary.best_metric}")
        yield "best", flow(best, width)
    if any(summary.quarantined.values()):
        yield "quarantined", flow(_quarantined(summary), width)
    yield "throughput", flow(_throughput(summary), width)
    yield "attempts", [_attempts(summary)]
    if summary.faults:
        yield (
            "failures",
            [part for line in in_words(summary.faults) for part in flow(line.split(", "), width)],
        )
    yield "checkpoints", _checkpoints(summary)
    if (trouble := mirror_trouble(summary.events)) is not None:
        yield "mirror", _folded(trouble, width)
    yield "run", [_sized(str(summary.run_dir), sum(summary.sizes.values()))]
    if summary.log_file is not None:
        yield "log", [str(summary.log_file)]


def _trained(summary: RunSummary) -> list[str]:
    if summary.steps == summary.total_steps:
        return [
            f"{summary.steps:,} steps",
            f"{summary.epochs:.4g} epochs",
            f"{summary.rows:,} rows",
        ]
    return [
        f"{summary.steps:,} of {summary.total_steps:,} steps",
        f"{summary.epochs:.4g} of {summary.total_epochs:.4g} epochs",
        f"{summary.rows:,} rows",
    ]


def _validation(measured: Measured, *, note: str = "") -> list[str]:
    return [*format_metrics(measured.metrics), f"(step {measured.step:,}{note})"]


def _quarantined(summary: RunSummary) -> list[str]:
    counts = [
        f"{rows:,} {split} row{'s' * (rows != 1)}"
        for split, rows in summary.quarantined.items()
        if rows
    ]
    return [*counts, "(listed in quarantine/)"]


def _throughput(summary: RunSummary) -> list[str]:
    throughput = summary.throughput
    if throughput.rows_per_s is None or throughput.wait_share is None:
        return ["nothing measured"]
    return [
        format_rate(throughput.rows_per_s),
        f"data wait {format_share(throughput.wait_share)}",
        f"{format_duration(throughput.train_s)} training",
        f"{format_duration(summary.elapsed_s)} in all",
    ]


def _attempts(summary: RunSummary) -> str:
    count = len(summary.attempts)
    return f"{count} ({summary.restarts} after a failure)" if summary.restarts else f"{count}"


def _checkpoints(summary: RunSummary) -> list[str]:
    if not summary.checkpoints:
        return ["none"]
    newest = summary.checkpoints[-_MOST_CHECKPOINTS:]
    shown = [name for name in summary.checkpoints if name in {*newest, summary.best_checkpoint}]
    lines = [f"{name}  (best)" if name == summary.best_checkpoint else name for name in shown]
    hidden = len(summary.checkpoints) - len(shown)
    return [*lines, f"and {hidden} more"] if hidden else lines


def _folded(reason: str, width: int) -> list[str]:
    """A reason of several lines, such as a traceback, line by line."""
    lines = Text.from_ansi(reason).plain.splitlines()
    return [part for line in lines for part in textwrap.wrap(line, width) or [""]]


def _sized(path: str, size: int) -> str:
    return f"{path}  ({format_bytes(size)})" if size else path
