"""What a step gave on this rank: sums for the report, and the loss of every single row."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from orchestrator.train.totals import Totals


@dataclass(frozen=True, kw_only=True, slots=True)
class RowLosses:
    """The losses [rows] of this rank's share; `exact` is false where they are means over rows."""

    values: Tensor
    exact: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class StepOutcome:
    """The sums over this rank's rows, and their losses; both stay on the device."""

    totals: Totals
    losses: RowLosses


def row_losses(pieces: Sequence[tuple[Tensor, int]]) -> RowLosses:
    """The losses of a share from those of its pieces, each with its rows; a scalar is a mean."""
    return RowLosses(
        values=torch.cat([loss.detach().expand(rows) for loss, rows in pieces]),
        exact=all(loss.ndim == 1 for loss, _ in pieces),
    )
