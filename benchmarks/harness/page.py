"""docs/benchmarks.md, made of the stored results alone."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.harness.bars import picture
from benchmarks.harness.outcome import Check
from benchmarks.harness.record import Record, write_whole
from benchmarks.harness.registry import WORKLOADS
from benchmarks.harness.repeat import ROOT
from benchmarks.harness.shown import number, readable, remarks, spread, target, verdict

DOCS = ROOT / "docs"
RESULTS = DOCS / "benchmarks" / "results"
_HEAD = """\
# Benchmarks

How fast the stream is, beside what the machine can do at most and beside the loaders that people
use. This page is written by `make bench` from the results that it stores; nothing here is typed.

    make bench-setup        the peers that `make setup` leaves out
    make bench              all of it, and this page
    make bench-quick        small variants of four, as a guard against regressions
    orchestrator bench W    one benchmark; orchestrator bench --list names them

## How to read it

- **Ratios count, not figures.** Machines differ and drift. All contenders of a benchmark are
  measured in turn, round after round, each time in a process of its own, and a ratio is taken
  within a round. Shown are the median and, in brackets, the lowest and the highest.
- All get the same function on the same files, as many workers, one thread each, and the same
  consumer. A peer that is not installed is not compared, and the benchmark says so.
- Bars are medians, whiskers go from the lowest to the highest round. Blue is ours, orange a peer,
  grey a limit: what the machine would do if moving rows were free.
- A missed target and a peer that is ahead are part of the result. What is known of the reasons,
  and what was tried: [missed targets](benchmarks/missed.md).
"""


def write_page(records: Mapping[str, Record], docs: Path = DOCS) -> Path:
    """Writes the page and its pictures; returns the page."""
    for record in records.values():
        write_whole(docs / _picture(record), picture(record.outcome))
    return write_whole(docs / "benchmarks.md", page(records))


def page(records: Mapping[str, Record]) -> str:
    """The page's text."""
    # As the table has them; what is no longer in it comes last.
    order = [*WORKLOADS, *records]
    shown = sorted(records.values(), key=lambda record: order.index(record.outcome.name))
    if not shown:
        return f"{_HEAD}\nNo results are stored yet.\n"
    blocks = [_HEAD, _summary(shown), *map(_section, shown)]
    return "\n".join(blocks)


def _summary(records: Sequence[Record]) -> str:
    promised = [check for record in records for check in record.outcome.checks]
    promised = [check for check in promised if check.target is not None]
    met = sum(check.met is True for check in promised)
    rows = [
        (f"[{record.outcome.name}](#{_anchor(record)})", *_cells(check))
        for record in records
        for check in record.outcome.checks
    ]
    head = ("benchmark", "ratio", "median (min - max)", "target", "result")
    lines = [
        "## All ratios",
        "",
        f"{met} of {len(promised)} targets are met.",
        "",
        *_table(head, rows, left=2),
    ]
    return "\n".join([*lines, ""])


def _section(record: Record) -> str:
    outcome = record.outcome
    figures = [
        (figure.name, spread(figure.series), figure.unit)
        for figure in map(readable, outcome.figures)
    ]
    lines = [f"## {outcome.title}", "", record.about, ""]
    if figures:
        lines += [f"![{outcome.title}]({_picture(record)})", ""]
        lines += [*_table(("figure", "median (min - max)", "unit"), figures, left=1), ""]
    if outcome.checks:
        head = ("ratio", "median (min - max)", "target", "result")
        lines += [*_table(head, [_cells(check) for check in outcome.checks], left=1), ""]
    if notes := [*outcome.notes, *(f"**{remark}**" for remark in remarks(outcome))]:
        lines += [*(f"- {note}" for note in notes), ""]
    small = " The small variant, which says less." if record.quick else ""
    lines += [
        f"`{record.command}`, {number(record.seconds / 60)} minutes on {record.date}, commit"
        f" {record.commit}.{small} {record.machine.text}.",
        f"[As a file](benchmarks/results/{outcome.name}.json).",
        "",
    ]
    return "\n".join(lines)


def _cells(check: Check) -> tuple[str, str, str, str]:
    result = verdict(check)
    shown = f"**{result}**" if check.met is False else result
    return (check.name, spread(check.series), target(check), shown)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> Iterator[str]:
    """A Markdown table whose first `left` columns are words, and the others figures."""
    yield _line(head)
    yield _line(["---" if place < left else "---:" for place in range(len(head))])
    for row in rows:
        yield _line([cell.replace("|", "\\|") for cell in row])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _anchor(record: Record) -> str:
    """The anchor that a heading gets."""
    kept = (
        letter for letter in record.outcome.title.lower() if letter.isalnum() or letter in " _-"
    )
    return "".join(kept).replace(" ", "-")


def _picture(record: Record) -> str:
    return f"pictures/bench-{record.outcome.name}.svg"
