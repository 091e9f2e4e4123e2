"""A batch as an own loop gets it: tensors by column, and where they belong."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orchestrator.data.feed import LocalBatch
from orchestrator.train.batch import Columnar, to_tensors
from orchestrator.train.outcome import RowLosses, row_losses
from orchestrator.train.stepper import row_weight
from orchestrator.train.user_code import MisuseError


class ContextBatch(Columnar):
    """This worker's share of one global batch: a tensor [rows, ...] for each numeric column.

    Where a short last batch has no row for this worker, it holds stand-ins, so that all workers
    make the same passes; `rows` is then empty, and whatever is computed of them counts nothing.

    Attributes:
        rows: the numbers of the rows in the data set.
        epoch: the epoch it belongs to, counted from 0.
        step: the number of its step in the whole run, counted from 0; in a validation, in the pass.
        global_rows: the rows of the whole batch, over all workers.
    """

    rows: NDArray[np.int64]
    epoch: int
    step: int
    global_rows: int
    _weight: float
    _given: list[tuple[Tensor, int]]

    @classmethod
    def make(
        cls, batch: LocalBatch, *, step: int, world_size: int, device: torch.device
    ) -> "ContextBatch":
        """The batch on the device."""
        tensors = to_tensors(batch.columns, device)
        made = cls(tensors, tensors.left_behind)
        made.rows, made.global_rows = batch.rows, batch.global_rows
        made.epoch, made.step = batch.epoch, step
        made._weight = row_weight(batch, world_size)
        made._given = []
        return made

    def mean(self, losses: Tensor) -> Tensor:
        """What to call `backward()` on: the gradients are then those of the global batch's mean.

        Args:
            losses: one a row, [rows], or a scalar, the mean over the rows. Rows may come in several
                calls, one for each backward pass.
        """
        rows = len(losses) if losses.ndim == 1 else self.size
        if losses.ndim > 1 or rows > self.size:
            raise self._misshapen(losses)
        self._given.append((losses.detach(), rows))
        return (losses.sum() if losses.ndim else losses * rows) * self._weight

    def losses(self, given: Tensor | None) -> RowLosses:
        """The losses of all rows: those given, or else those that `mean` got."""
        if given is not None and (given.ndim == 0 or given.shape == (self.size,)):
            return row_losses([(given.detach(), self.size)])
        if given is not None:
            raise self._misshapen(given)
        if sum(rows for _, rows in self._given) != self.size:
            raise MisuseError(
                "step_done() was given no losses, and batch.mean() did not get those of all rows"
            )
        return row_losses(self._given)

    @property
    def counted(self) -> bool:
        """Whether its rows count; false for stand-ins."""
        return len(self.rows) > 0

    @property
    def size(self) -> int:
        """Rows of its tensors: those of `rows`, or the stand-ins."""
        return len(next(iter(self.values())))

    def _misshapen(self, losses: Tensor) -> MisuseError:
        return MisuseError(
            f"the losses have shape {list(losses.shape)} for {self.size} rows; wanted one value a"
            f" row, [{self.size}], or a scalar mean"
        )
