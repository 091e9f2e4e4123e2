"""Validation: every row that was set aside, once, whatever the number of workers."""

from collections.abc import Iterator

import torch

from orchestrator.data.feed import LocalBatch
from orchestrator.errors import JobFailedError
from orchestrator.train.batch import numeric_tensors
from orchestrator.train.strategy import DdpStrategy
from orchestrator.train.task import TrainTask
from orchestrator.train.totals import Totals, row_totals


class Evaluator:
    """Takes one pass after another from the validation stream.

    One stream carries all the passes of a run: it rests between them with its next blocks ready, so
    that a validation starts at once.
    """

    def __init__(
        self,
        task: TrainTask,
        strategy: DdpStrategy,
        batches: Iterator[LocalBatch],
        *,
        steps: int,
        device: torch.device,
    ) -> None:
        self._task = task
        self._strategy = strategy
        self._batches = batches
        self._steps = steps
        self._device = device

    def evaluate(self) -> Totals:
        """Scores the next pass; every rank has to call it and gets the totals of all."""
        self._strategy.share_buffers()
        self._strategy.model.eval()
        total: Totals | None = None
        with torch.no_grad():
            for _ in range(self._steps):
                batch = next(self._batches, None)
                if batch is None:
                    raise JobFailedError("the validation stream ended in the middle of a pass")
                part = self._score(batch)
                total = part if total is None else total.plus(part)
        if total is None:
            raise JobFailedError("the validation stream holds no rows")
        return total.over_ranks()

    def _score(self, batch: LocalBatch) -> Totals:
        tensors = numeric_tensors(batch.columns, self._device)
        # The bare model: nothing is averaged, so no rank has to wait for another one.
        values = self._task.evaluate(self._strategy.model, tensors)
        rows = len(next(iter(tensors.values())))
        return row_totals(values, rows=rows, counted=len(batch.rows) > 0)
