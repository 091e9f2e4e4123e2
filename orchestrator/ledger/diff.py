"""Two runs compared by what made their steps, in the global order."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orchestrator.ledger.chain import Chain, read_chain
from orchestrator.ledger.lines import Lines, lines_of
from orchestrator.ledger.replay import TrainedStep, walk
from orchestrator.ledger.run_order import RunOrder, read_order
from orchestrator.plan.fingerprint import DATA_PART
from orchestrator.plan.origins import join_origins

# Lines of a step that are shown of each run.
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One run at the first step that differs: its lines there, and some of those that differ."""

    lines: int
    shown: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first step, counted from 0, at which two runs saw other rows.

    `place` is the first line that differs, counted from 0; `reordered`: both have the same lines in
    another order.
    """

    step: int
    epoch: int
    place: int
    reordered: bool
    sides: tuple[Side, Side]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What two runs have in common: `common` steps, of which `agreed` are known to be the same.

    `steps` are those of each run, of which the first `begins` are not in its ledger. `settings` are
    the names of what else differs between them.
    """

    steps: tuple[int, int]
    begins: tuple[int, int]
    agreed: int
    settings: tuple[str, ...]
    difference: Difference | None

    @property
    def common(self) -> int:
        return max(0, min(self.steps) - max(self.begins))

    @property
    def same_data(self) -> bool:
        return DATA_PART not in self.settings

    @property
    def agrees(self) -> bool:
        return self.same_data and self.difference is None and self.common > 0


def compare_runs(a: Path, b: Path) -> Comparison:
    """Compares the steps that both have; of other data sets nothing is compared.

    Raises:
        LedgerError: one of the ledgers is not whole, or not proven.
    """
    runs, chains = (read_order(a), read_order(b)), (read_chain(a), read_chain(b))
    parts = [run.description.parts for run in runs]
    names = sorted(parts[0].keys() | parts[1].keys())
    settings = tuple(name for name in names if parts[0].get(name) != parts[1].get(name))
    steps = (chains[0].steps, chains[1].steps)
    begins = (chains[0].begin, chains[1].begin)
    difference, agreed = None, 0
    if DATA_PART not in settings:
        ours, theirs = (
            _steps(run, chain, max(begins)) for run, chain in zip(runs, chains, strict=True)
        )
        for our, their in zip(ours, theirs, strict=False):
            batches = (join_origins(our.shares), join_origins(their.shares))
            if batches[0].evidence() != batches[1].evidence():
                lines = (lines_of(batches[0]), lines_of(batches[1]))
                difference = _difference(runs, our.step, our.epoch, lines)
                break
            agreed += 1
    return Comparison(
        steps=steps, begins=begins, agreed=agreed, settings=settings, difference=difference
    )


def _steps(run: RunOrder, chain: Chain, begin: int) -> Iterator[TrainedStep]:
    """The steps that count, from one of them on."""
    for chunk in chain.effective:
        if chunk.header.last_step > begin:
            yield from (step for step in walk(run, chunk) if step.step >= begin)


def _difference(
    runs: tuple[RunOrder, RunOrder], step: int, epoch: int, lines: tuple[Lines, Lines]
) -> Difference:
    keys = [_keys(each) for each in lines]
    length = min(len(keys[0]), len(keys[1]))
    same_kind = keys[0].shape[1] == keys[1].shape[1]
    different = keys[0][:length] != keys[1][:length] if same_kind else np.ones((length, 1))
    apart = np.flatnonzero(different.any(axis=1))
    place = int(apart[0]) if len(apart) else length
    sides = [
        Side(
            lines=len(each),
            shown=tuple(_shown(run, each, number) for number in range(place, len(each))[:_SHOWN]),
        )
        for run, each in zip(runs, lines, strict=True)
    ]
    return Difference(
        step=step,
        epoch=epoch,
        place=place,
        reordered=sorted(keys[0].tolist()) == sorted(keys[1].tolist()),
        sides=(sides[0], sides[1]),
    )


def _keys(lines: Lines) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """What tells lines apart, int64 [lines, columns]."""
    spans = [] if lines.start is None or lines.stop is None else [lines.start, lines.stop]
    return np.stack([lines.row, lines.part, *spans], axis=1, dtype=np.int64)


def _shown(run: RunOrder, lines: Lines, number: int) -> str:
    text = run.place_of(int(lines.row[number]))
    if lines.start is not None and lines.stop is not None:
        return f"{text}, tokens {lines.start[number]} to {lines.stop[number]}"
    # Of a row that gives one sample there is only one part.
    return f"{text}, part {lines.part[number]}" if run.has_parts else text
