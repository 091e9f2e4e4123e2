"""The verbs that look into a ledger: overview, rows of a step and comparison, as text and JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from pydantic import JsonValue

from orchestrator.ledger.chain import Chain
from orchestrator.ledger.diff import Comparison, Difference
from orchestrator.ledger.replay import steps_text
from orchestrator.ledger.run_order import RunOrder
from orchestrator.ledger.step import StepRow
from orchestrator.report.proof import counted, samples_of
from orchestrator.units import format_bytes, format_count


def render_overview(run: RunOrder, chain: Chain, name: str) -> str:
    """How much of a run the ledger has, and what it takes."""
    size, samples = sum(chunk.bytes for chunk in chain.effective), samples_of(run, chain)
    lines = [
        f"{name}: {counted(chain.recorded, 'step')} in {counted(len(chain.effective), 'chunk')},"
        f" {format_bytes(size)} ({size / max(1, samples):.2g} bytes a row trained)"
    ]
    for chunk in chain.effective:
        header = chunk.header
        lines.append(
            f"  {chunk.shown}  steps {format_count(header.first_step + 1)} to"
            f" {format_count(header.last_step)}, attempt {header.attempt},"
            f" {counted(header.workers, 'worker')}, {format_bytes(chunk.bytes)}"
        )
    lines += [f"  {chunk.shown}  before steps of which nothing is known" for chunk in chain.earlier]
    lines += [f"  {chunk.shown}  does not count" for chunk in chain.others]
    return "\n".join(lines)


def overview_json(run: RunOrder, chain: Chain, name: str) -> dict[str, JsonValue]:
    """The same as plain values."""
    counting = {chunk.path for chunk in (*chain.earlier, *chain.effective)}
    return {
        "name": name,
        "steps": chain.recorded,
        "samples": samples_of(run, chain),
        "chunks": [
            {
                "file": chunk.shown,
                "first_step": chunk.header.first_step + 1,
                "last_step": chunk.header.last_step,
                "attempt": chunk.header.attempt,
                "workers": chunk.header.workers,
                "bytes": chunk.bytes,
                "effective": chunk.path in counting,
            }
            for chunk in (*chain.earlier, *chain.effective, *chain.others)
        ],
    }


def render_step(rows: Sequence[StepRow], number: int) -> str:
    """The rows of a step, a line each."""
    spans = any(row.start is not None for row in rows)
    headings = ("rank", "row", "part", *(("start", "stop") if spans else ()), "position", "file")
    table = [headings, *(_cells(row, spans=spans) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [f"step {format_count(number)}: {counted(len(rows), 'line')}"]
    for *cells, file in table:
        numbers = (f"{cell:>{width}}" for cell, width in zip(cells, widths[:-1], strict=True))
        lines.append("  " + "  ".join([*numbers, file]))
    return "\n".join(lines)


def step_json(rows: Sequence[StepRow], number: int) -> dict[str, JsonValue]:
    """The same as plain values."""
    return {"step": number, "rows": [asdict(row) for row in rows]}


def render_comparison(found: Comparison, names: tuple[str, str]) -> str:
    """Where two runs differ first, or that they do not."""
    return "\n".join(_comparison_lines(found, names))


def comparison_json(found: Comparison, names: tuple[str, str]) -> dict[str, JsonValue]:
    """The same as plain values."""
    difference = found.difference
    return {
        "runs": list(names),
        "steps": list(found.steps),
        "not_recorded": list(found.begins),
        "agrees": found.agrees,
        "agreed_steps": found.agreed,
        "same_data": found.same_data,
        "settings": list(found.settings),
        "difference": None
        if difference is None
        else {**asdict(difference), "step": difference.step + 1},
    }


def _cells(row: StepRow, *, spans: bool) -> tuple[str, ...]:
    span = (f"{row.start}", f"{row.stop}") if spans else ()
    return (f"{row.rank}", f"{row.row}", f"{row.part}", *span, f"{row.position}", row.file)


def _comparison_lines(found: Comparison, names: tuple[str, str]) -> Iterator[str]:
    a, b = names
    if not found.same_data:
        yield f"{a} and {b} were trained on different data sets"
    elif not found.common:
        yield f"there is nothing to compare: {a} and {b} have no step in common in their ledgers"
    elif found.difference is None:
        yield f"{a} and {b} agree on all {counted(found.common, 'step')} that both have"
    else:
        yield from _difference_lines(found.difference, names)
    others = [name for name in found.settings if found.same_data]
    if others:
        yield f"their jobs differ in: {', '.join(others)}"
    for name, steps, begin in zip(names, found.steps, found.begins, strict=True):
        if not steps:
            yield f"of {name} no step is saved, or no checkpoint verifies"
        if begin:
            yield f"{steps_text(0, begin)} of {name} {'is' if begin == 1 else 'are'} not recorded"
    if found.steps[0] != found.steps[1]:
        longer, shorter = (a, b) if found.steps[0] > found.steps[1] else (b, a)
        more = abs(found.steps[0] - found.steps[1])
        yield f"{longer} has {counted(more, 'step')} more than {shorter}"


def _difference_lines(difference: Difference, names: tuple[str, str]) -> Iterator[str]:
    step, epoch = format_count(difference.step + 1), difference.epoch + 1
    what = "the same rows in another order" if difference.reordered else "other rows"
    yield (
        f"{names[0]} and {names[1]} differ first in step {step} (epoch {epoch}): {what}, from place"
        f" {difference.place} of the batch on"
    )
    for name, side in zip(names, difference.sides, strict=True):
        yield f"  {name}, {format_count(side.lines)} in all:"
        yield from (f"    {line}" for line in side.shown or ("nothing more",))
