"""Validation: every row that was set aside, once, whatever the number of workers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from orchestrator.data.feed import LocalBatch
from orchestrator.errors import JobFailedError
from orchestrator.train.batch import Columnar, micro_batches, to_tensors
from orchestrator.train.passes import ValidationPasses
from orchestrator.train.row_values import RowValues
from orchestrator.train.strategy import Strategy
from orchestrator.train.task import TrainTask
from orchestrator.train.totals import Totals, check_same_names, row_totals

T = TypeVar("T")
Summarise = Callable[[Mapping[str, Tensor]], Mapping[str, float]]

# What a summary may well raise for a few rows and not for all: an AUC where all are of one class.
_OF_FEW_ROWS = (ValueError, ArithmeticError, IndexError, RuntimeError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """What one validation found over `rows` rows."""

    rows: int
    metrics: dict[str, float]


class Evaluator:
    """Scores one pass after another over the validation rows.

    Args:
        summarise: makes the metrics out of all rows' values; None takes the mean of each.
    """

    def __init__(
        self,
        task: TrainTask,
        strategy: Strategy,
        passes: ValidationPasses,
        *,
        device: torch.device,
        micro_batch_size: int | None,
        summarise: Summarise | None = None,
    ) -> None:
        self._task = task
        self._strategy = strategy
        self._passes = passes
        self._device = device
        self._micro_batch_size = micro_batch_size
        self._summarise = summarise

    def rehearse(self) -> tuple[str, ...] | None:
        """Scores the first batch for nothing; the names of the metrics, as far as it can tell.

        A mistake in the validation then shows in the first seconds, and not after an epoch.
        """
        self._strategy.model.eval()
        values = RowValues()
        with torch.no_grad(), self._strategy.evaluating():
            totals = self._score(self._passes.first(), values)
        check_same_names(totals.names)
        if self._summarise is None:
            return totals.names
        rows = values.collect()
        return _from_first_rank(None if rows is None else self._names(self._summarise, rows))

    def evaluate(self) -> Scores:
        """Scores the next pass; every rank has to call it and gets the same."""
        self._strategy.model.eval()
        values = RowValues()
        with torch.no_grad(), self._strategy.evaluating():
            parts = [self._score(batch, values) for batch in self._passes.begin()]
        totals = reduce(Totals.plus, parts).over_ranks()
        if self._summarise is None:
            return Scores(rows=totals.rows, metrics=totals.means())
        rows = values.collect()
        metrics = {} if rows is None else dict(self._summarise(rows))
        return Scores(rows=totals.rows, metrics=_from_first_rank(metrics))

    def _score(self, batch: LocalBatch, values: RowValues) -> Totals:
        counted = len(batch.rows) > 0
        pieces = micro_batches(to_tensors(batch.columns, self._device), self._micro_batch_size)
        # The bare model: nothing is averaged, so no rank has to wait for another one.
        scored = [self._task.evaluate(self._strategy.model, piece) for piece in pieces]
        totals = [
            row_totals(found, rows=_rows_of(piece), counted=counted)
            for piece, found in zip(pieces, scored, strict=True)
        ]
        if self._summarise is not None:
            values.add(batch.origins, scored)
        return reduce(Totals.plus, totals)

    def _names(self, summarise: Summarise, rows: Mapping[str, Tensor]) -> tuple[str, ...] | None:
        try:
            return tuple(summarise(rows))
        except JobFailedError as error:
            if isinstance(error.__cause__, _OF_FEW_ROWS):
                return None
            raise


def _rows_of(piece: Columnar) -> int:
    return len(next(iter(piece.values())))


def _from_first_rank(value: T) -> T:
    """The first rank's value, on every rank."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]
