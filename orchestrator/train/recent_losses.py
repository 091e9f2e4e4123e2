"""The losses since the last report, row by row: where a loss that is no number came from."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from orchestrator.errors import NotFiniteError
from orchestrator.plan.index import DatasetIndex
from orchestrator.train.outcome import RowLosses
from orchestrator.train.recorder import NOT_FINITE_HINT

# As many steps are kept before they are looked at, which waits for the device, and let go.
_MOST_STEPS = 500
_NAMED_ROWS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kept:
    step: int
    epoch: int
    place: int
    rows: NDArray[np.int64]
    losses: RowLosses


@dataclass(frozen=True, kw_only=True, slots=True)
class _Spoilt:
    """The rows of one step whose loss is no number."""

    step: int
    epoch: int
    place: int
    rows: tuple[int, ...]
    is_nan: bool
    exact: bool


class RecentLosses:
    """Keeps each step's losses on the device, and looks at them only when something is wrong."""

    def __init__(self, index: DatasetIndex) -> None:
        self._index = index
        self._kept: list[_Kept] = []
        self._found: _Spoilt | None = None

    def add(
        self, rows: NDArray[np.int64], losses: RowLosses, *, step: int, epoch: int, place: int
    ) -> None:
        """Takes the losses of a step, counted from 1, without waiting for them.

        Args:
            place: which step it is by the order, counted from 0.
        """
        if len(rows):
            kept = _Kept(step=step, epoch=epoch, place=place, rows=rows, losses=losses)
            self._kept.append(kept)
        if len(self._kept) == _MOST_STEPS:
            self._look()

    def forget(self) -> None:
        """Lets go of all: they have been reported, and are numbers."""
        self._kept.clear()

    def explain(self, mean: float, *, step: int, epoch: int) -> NotFiniteError:
        """The error that names the first step and the rows of all ranks; every rank calls it.

        Args:
            mean: the loss since the last report, which is no number.
            step, epoch: where it was noticed.
        """
        self._look()
        of_ranks = enumerate(_of_all_ranks(self._found))
        every = {rank: found for rank, found in of_ranks if found is not None}
        if not every:  # the numbers of a step before a restart, or a sum that has no room for it
            text = f"the loss became {mean} by step {step} (epoch {epoch + 1})"
            return NotFiniteError(text, hint=NOT_FINITE_HINT)
        first = min(every.values(), key=lambda found: found.step)
        found = {rank: part for rank, part in every.items() if part.step == first.step}
        return NotFiniteError(
            self._text(found),
            hint=NOT_FINITE_HINT,
            place=first.place,
            rows=tuple(sorted(row for part in found.values() for row in part.rows)),
        )

    def _look(self) -> None:
        if self._found is None:
            self._found = next(filter(None, map(_spoilt, self._kept)), None)
        self._kept.clear()

    def _text(self, of_ranks: dict[int, _Spoilt]) -> str:
        found = list(of_ranks.values())
        rows = sorted(row for part in found for row in part.rows)
        named, more = rows[:_NAMED_ROWS], len(rows) - _NAMED_ROWS
        kind = "nan" if any(part.is_nan for part in found) else "infinite"
        which = ", ".join(map(str, named)) + (f" (and {more} more)" if more > 0 else "")
        # Of a mean nobody can say which of its rows spoilt it.
        sure = all(part.exact for part in found)
        text = (
            f"the loss became {kind} in step {found[0].step} (epoch {found[0].epoch + 1}):"
            f" {'' if sure else 'one or more of '}{'row' if len(rows) == 1 else 'rows'} {which}"
        )
        workers = ", ".join(map(str, of_ranks))
        text += f", on {'worker' if len(of_ranks) == 1 else 'workers'} {workers}"
        return text + "".join(self._place(row) for row in named)

    def _place(self, row: int) -> str:
        path, position = self._index.locate(row)
        return f"\n  row {row} is row {position} of {path}"


def _spoilt(kept: _Kept) -> _Spoilt | None:
    values = kept.losses.values
    bad = ~values.isfinite()
    if not bool(bad.any()):
        return None
    rows = kept.rows[bad.cpu().numpy()]
    return _Spoilt(
        step=kept.step,
        epoch=kept.epoch,
        place=kept.place,
        rows=tuple(rows.tolist()),
        is_nan=bool(torch.isnan(values).any()),
        exact=kept.losses.exact,
    )


def _of_all_ranks(own: _Spoilt | None) -> Iterable[_Spoilt | None]:
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return [own]
    every: list[_Spoilt | None] = [None] * dist.get_world_size()
    dist.all_gather_object(every, own)
    return every
