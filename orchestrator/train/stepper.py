"""One optimizer step: a rank's share of a global batch, in micro-batches, averaged exactly."""

import random
from collections.abc import Mapping
from functools import partial, reduce
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from orchestrator.data.feed import LocalBatch
from orchestrator.errors import JobFailedError
from orchestrator.train.batch import Columnar, micro_batches, to_tensors
from orchestrator.train.optimizer import ScheduledOptimizer
from orchestrator.train.outcome import StepOutcome, row_losses
from orchestrator.train.strategy import Strategy
from orchestrator.train.task import TrainTask, split_output
from orchestrator.train.totals import Totals, row_totals

if TYPE_CHECKING:
    from orchestrator.train.out_of_memory import MemoryRetries


class Stepper:
    """Turns batches into optimizer steps.

    Args:
        memory: tries a step again for which the device's memory did not suffice; None does not.
    """

    def __init__(
        self,
        task: TrainTask,
        strategy: Strategy,
        optimizer: ScheduledOptimizer,
        *,
        device: torch.device,
        micro_batch_size: int | None,
        clip_norm: float | None,
        memory: "MemoryRetries | None" = None,
    ) -> None:
        self._task = task
        self._strategy = strategy
        self._optimizer = optimizer
        self._device = device
        self._micro_batch_size = micro_batch_size
        self._clip_norm = clip_norm
        self._memory = memory

    def step(self, batch: LocalBatch, number: int) -> StepOutcome:
        """Trains one step, counted from 0 through the run; what this rank's rows gave.

        Every rank has to call it with its share of the same global batch.
        """
        self._strategy.model.train()
        # All of the model's, not only those that the optimizer updates: others would pile up.
        self._strategy.model.zero_grad(set_to_none=True)
        if self._memory is None:
            outcome = self.forward_backward(batch)
        else:
            outcome = self._memory.run(partial(self.forward_backward, batch), batch, number)
        if self._clip_norm is not None:
            nn.utils.clip_grad_norm_(self._optimizer.parameters(), self._clip_norm)
        self._optimizer.step(number)
        return outcome

    def forward_backward(self, batch: LocalBatch) -> StepOutcome:
        """The gradient of the mean loss over the global batch, and this rank's outcome."""
        size = self._micro_batch_size if self._memory is None else self._memory.size
        pieces = micro_batches(to_tensors(batch.columns, self._device), size)
        totals, losses = [], []
        for position, piece in enumerate(pieces):
            with self._strategy.accumulating(last=position == len(pieces) - 1):
                found, metrics = self._one(piece, batch)
            rows = len(next(iter(piece.values())))
            totals.append(
                row_totals({**metrics, "loss": found}, rows=rows, counted=len(batch.rows) > 0)
            )
            losses.append((found.detach(), rows))
        return StepOutcome(totals=reduce(Totals.plus, totals), losses=row_losses(losses))

    def _one(self, piece: Columnar, batch: LocalBatch) -> tuple[Tensor, Mapping[str, Tensor]]:
        rows = len(next(iter(piece.values())))
        losses, metrics = split_output(self._task.loss(self._strategy.trainable, piece))
        _check_loss(losses, rows)
        summed = losses.sum() if losses.ndim else losses * rows
        torch.autograd.backward(summed * row_weight(batch, self._strategy.world_size))
        return losses, metrics


def row_weight(batch: LocalBatch, world_size: int) -> float:
    """What the sum of a rank's losses is multiplied by before the backward pass.

    DDP divides the sum over ranks by their number; undone here, so that what is left is the mean
    over the rows of the global batch, whichever rank holds how many of them. Stand-ins weigh
    nothing, but their pass must happen: the other ranks wait for it.
    """
    return world_size / batch.global_rows if len(batch.rows) else 0.0


def seed_everything(seed: int, step: int, lane: int) -> None:
    """Seeds every generator a model may draw from, so that a step needs no earlier one's state."""
    # In words of 32 bits: NumPy would string a longer seed's words together with those of the step.
    entropy = [seed & 0xFFFFFFFF, step, lane, seed >> 32]
    words = np.random.SeedSequence(entropy).generate_state(2, np.uint32)
    mixed = int(words[0]) | int(words[1]) << 32
    torch.manual_seed(mixed)
    random.seed(mixed)
    np.random.seed(int(words[0]))


def world() -> tuple[int, int]:
    """(rank, number of ranks) of this process."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def _check_loss(losses: Tensor, rows: int) -> None:
    if losses.ndim > 1 or (losses.ndim == 1 and len(losses) != rows):
        raise JobFailedError(
            f"the task's loss has shape {list(losses.shape)} for {rows} rows;"
            f" wanted one value a row, [{rows}], or a scalar mean"
        )
    if not losses.requires_grad:
        raise JobFailedError("the task's loss does not depend on the model's parameters")
