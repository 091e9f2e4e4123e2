"""What an audit found, as text for people and as JSON for scripts."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby

from pydantic import JsonValue

from orchestrator.ledger.audit import Audit, EpochAccount
from orchestrator.ledger.chain import Chain
from orchestrator.ledger.problem import Problem
from orchestrator.ledger.replay import steps_text
from orchestrator.ledger.run_order import RunOrder
from orchestrator.units import format_bytes, format_count

PROOF_KEYS = (
    "the keys are name, exact, steps, not_recorded, total_steps, samples, workers, attempts,"
    " restarts, chunks, bytes, sources, epochs and problems; epochs are counted from 0, steps from"
    " 1"
)
_MOST_PROBLEMS = 20
_MOST_ROWS = 3
_MOST_ROWS_JSON = 1000
_RARE = ("quarantined", "skipped")
_HEADINGS = ("epoch", "expected", "used", "filtered", "missing", "repeated", *_RARE)


def render_proof(audit: Audit, name: str) -> str:
    """The proof, or what speaks against it."""
    lines = [f"{name}: {_verdict(audit)}"]
    lines += [f"  {label:<9} {text}" for label, text in _topics(audit)]
    if audit.epochs:
        lines += ["", *_table(audit.epochs)]
    lines += [_so_far(account) for account in audit.epochs if not account.finished]
    if audit.problems:
        lines += ["", *_problems(audit.run, audit.problems)]
    return "\n".join(lines)


def proof_json(audit: Audit, name: str) -> dict[str, JsonValue]:
    """The same as plain values."""
    return {
        "name": name,
        "exact": not audit.problems,
        "steps": audit.chain.recorded,
        "not_recorded": audit.chain.begin,
        "total_steps": audit.run.description.total_steps,
        "samples": samples_of(audit.run, audit.chain),
        "workers": list(_workers(audit)),
        "attempts": len(audit.attempts),
        "restarts": max(0, len(audit.attempts) - 1),
        "chunks": len(audit.chain.effective),
        "bytes": audit.chain.bytes,
        "sources": [asdict(source) for source in audit.sources],
        "epochs": [asdict(account) for account in audit.epochs],
        "problems": [_problem_json(problem, audit.run) for problem in audit.problems],
    }


def _verdict(audit: Audit) -> str:
    if audit.chain.lost:
        return "nothing is proven, since no checkpoint is left that verifies"
    if audit.chain.begin and len(audit.problems) == 1:
        return (
            f"nothing is known of {steps_text(0, audit.chain.begin)}, and the rest is as it must be"
        )
    if audit.problems:
        return "not every row is where it must be"
    if not audit.chain.steps:
        return "no step is saved yet"
    if audit.run.description.mixture is not None:
        return "each row exactly once in each pass over its source"
    if all(account.finished for account in audit.epochs):
        return "each row exactly once in each epoch"
    return "each row exactly once in each epoch, and at most once in the one that goes on"


def _topics(audit: Audit) -> Iterator[tuple[str, str]]:
    description, chain = audit.run.description, audit.chain
    rows, files = description.index.rows, len(description.files)
    yield "rows", f"{format_count(rows)} in {counted(files, 'file')}"
    done, total = chain.recorded, description.total_steps
    since = f", from step {format_count(chain.begin + 1)} on" if chain.begin else ""
    yield "steps", f"{format_count(done)} of {format_count(total)} proven{since}"
    if audit.attempts:
        line = {chunk.header.attempt for chunk in chain.effective}
        yield (
            "attempts",
            f"{len(audit.attempts)}, of which {len(line)} gave steps that count;"
            f" {counted(len(audit.attempts) - 1, 'restart')}",
        )
    if chain.effective:
        yield "workers", ", then ".join(map(str, _workers(audit)))
        size = sum(chunk.bytes for chunk in chain.effective)
        yield (
            "ledger",
            f"{counted(len(chain.effective), 'chunk')} verified, {format_bytes(size)}"
            f" ({size / max(1, samples_of(audit.run, audit.chain)):.2g} bytes a row trained)",
        )
    if left_out := [step for chunk in chain.effective for step in chunk.header.skipped]:
        steps = ", ".join(format_count(step + 1) for step in left_out)
        yield "skipped", f"step {steps}: left out by a rewind, and not trained"
    for source in audit.sources:
        yield (
            "source",
            f"{source.name}: {counted(source.passes, 'pass')} and"
            f" {counted(source.rest, 'sample')} of the next, by the last finished epoch",
        )
    if chain.earlier:
        yield "before", f"{counted(len(chain.earlier), 'chunk')} from before the ledger's gap"
    if chain.others:
        yield "beside", f"{counted(len(chain.others), 'chunk')} of steps that do not count"
    for name in chain.damaged:
        yield "damaged", f"the checkpoint {name} does not verify, and does not count"


def _workers(audit: Audit) -> Iterator[int]:
    """The worker counts of the steps that count, one after another."""
    for workers, _ in groupby(chunk.header.workers for chunk in audit.chain.effective):
        yield workers


def _table(epochs: Sequence[EpochAccount]) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [_HEADINGS]
    for figures, group in groupby(filter(lambda a: a.finished, epochs), _figures):
        numbers = [account.epoch + 1 for account in group]
        label = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
        rows.append((label, *map(format_count, figures)))
    if len(rows) > 1:
        for row in _in_columns([*zip(*rows, strict=True)]):
            yield "  " + "  ".join(row)


def _in_columns(columns: Sequence[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """The rows of a table, padded, without the columns of what is rare and did not happen."""
    shown = [each for each in columns if each[0] not in _RARE or set(each[1:]) != {"0"}]
    widths = [max(map(len, column)) for column in shown]
    for row in zip(*shown, strict=True):
        yield tuple(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))


def _figures(account: EpochAccount) -> tuple[int, ...]:
    return (
        account.expected,
        account.used,
        account.filtered,
        account.missing,
        account.repeated,
        account.quarantined,
        account.skipped,
    )


def _so_far(account: EpochAccount) -> str:
    left = account.expected - account.filtered - account.quarantined - account.skipped
    return (
        f"  epoch {account.epoch + 1}: {format_count(account.used)} of {format_count(left)} rows"
        f" so far, in {format_count(account.steps)} of {format_count(account.of_steps)} steps"
    )


def _problems(run: RunOrder, problems: Sequence[Problem]) -> Iterator[str]:
    for problem in problems[:_MOST_PROBLEMS]:
        yield problem.message
        yield from (f"  {run.place_of(row)}" for row in problem.rows[:_MOST_ROWS])
        if (more := len(problem.rows) - _MOST_ROWS) > 0:
            yield f"  and {format_count(more)} more"
    if (more := len(problems) - _MOST_PROBLEMS) > 0:
        yield f"and {counted(more, 'problem')} more"


def _problem_json(problem: Problem, run: RunOrder) -> dict[str, JsonValue]:
    start, stop = problem.steps or (None, None)
    return {
        "message": problem.message,
        "epoch": problem.epoch,
        "first_step": None if start is None else start + 1,
        "last_step": stop,
        "rows": list(problem.rows[:_MOST_ROWS_JSON]),
        "places": [run.place_of(row) for row in problem.rows[:_MOST_ROWS]],
    }


def samples_of(run: RunOrder, chain: Chain) -> int:
    """Samples trained in the steps that count and are recorded."""
    return _samples_before(run, chain.steps) - _samples_before(run, chain.begin)


def counted(count: int, noun: str) -> str:
    """A number of things in words."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{format_count(count)} {noun if count == 1 else plural}"


def _samples_before(run: RunOrder, step: int) -> int:
    epochs, rest = divmod(step, run.steps_per_epoch)
    return epochs * run.order.rows + min(run.order.rows, rest * run.description.batch)
