"""The rows of one step, each with its file and its position in it."""

from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import LedgerError
from orchestrator.ledger.chain import Chain, read_chain
from orchestrator.ledger.lines import lines_of
from orchestrator.ledger.replay import TrainedStep, steps_text, walk
from orchestrator.ledger.run_order import RunOrder, read_order


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """A row in a step; `position` is its place in the file, counted from 0."""

    rank: int
    row: int
    part: int
    start: int | None
    stop: int | None
    file: str
    position: int


def rows_of_step(run_dir: Path, number: int) -> list[StepRow]:
    """The rows of a step that counts, in the global order.

    Args:
        number: of the step in the whole run, counted from 1 as in metrics.jsonl.

    Raises:
        LedgerError: the step is not in the ledger, or is not proven by it.
    """
    run, chain = read_order(run_dir), read_chain(run_dir)
    step = _find(run, chain, number - 1)
    found = []
    for rank, share in enumerate(step.shares):
        lines = lines_of(share)
        for place, row in enumerate(lines.row.tolist()):
            file, position = run.description.index.locate(row)
            found.append(
                StepRow(
                    rank=rank,
                    row=row,
                    part=int(lines.part[place]),
                    start=None if lines.start is None else int(lines.start[place]),
                    stop=None if lines.stop is None else int(lines.stop[place]),
                    file=file,
                    position=position,
                )
            )
    return found


def _find(run: RunOrder, chain: Chain, step: int) -> TrainedStep:
    for chunk in (*chain.earlier, *chain.effective):
        if chunk.header.first_step <= step < chunk.header.last_step:
            return next(found for found in walk(run, chunk) if found.step == step)
    has = steps_text(chain.begin, chain.steps) if chain.begin else f"{chain.steps:,} steps"
    raise LedgerError(f"step {step + 1:,} is not in the ledger, which has {has}")
