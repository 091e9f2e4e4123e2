"""Validation: every row that was set aside, once, whatever the number of workers."""

from collections.abc import Iterator
from functools import reduce
from itertools import chain

import torch

from orchestrator.data.feed import LocalBatch
from orchestrator.errors import JobFailedError
from orchestrator.train.batch import micro_batches, numeric_tensors
from orchestrator.train.strategy import DdpStrategy
from orchestrator.train.task import Batch, TrainTask
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
        micro_batch_size: int | None,
    ) -> None:
        self._task = task
        self._strategy = strategy
        self._batches = batches
        self._steps = steps
        self._device = device
        self._micro_batch_size = micro_batch_size

    def rehearse(self) -> tuple[str, ...]:
        """Scores the first batch for nothing; the names of the metrics.

        A mistake in the validation then shows in the first seconds, and not after an epoch.
        """
        first = self._next()
        self._batches = chain([first], self._batches)
        self._strategy.model.eval()
        with torch.no_grad():
            return self._score(first).names

    def evaluate(self) -> Totals:
        """Scores the next pass; every rank has to call it and gets the totals of all."""
        self._strategy.share_buffers()
        self._strategy.model.eval()
        with torch.no_grad():
            total = self._score(self._next())
            for _ in range(self._steps - 1):
                total = total.plus(self._score(self._next()))
        return total.over_ranks()

    def _next(self) -> LocalBatch:
        batch = next(self._batches, None)
        if batch is None:
            raise JobFailedError("the validation stream ended in the middle of a pass")
        return batch

    def _score(self, batch: LocalBatch) -> Totals:
        pieces = micro_batches(numeric_tensors(batch.columns, self._device), self._micro_batch_size)
        parts = [self._score_piece(piece, counted=len(batch.rows) > 0) for piece in pieces]
        return reduce(Totals.plus, parts)

    def _score_piece(self, piece: Batch, *, counted: bool) -> Totals:
        # The bare model: nothing is averaged, so no rank has to wait for another one.
        values = self._task.evaluate(self._strategy.model, piece)
        return row_totals(values, rows=len(next(iter(piece.values()))), counted=counted)
