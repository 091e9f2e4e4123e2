"""One pass over the validation rows, as an own loop goes through it."""

from collections.abc import Iterator

import torch
from torch import Tensor

from orchestrator.train.context_batch import ContextBatch
from orchestrator.train.passes import ValidationPasses
from orchestrator.train.totals import Totals, check_same_names, row_totals
from orchestrator.train.user_code import MisuseError


class ValidationPass:
    """The batches of this worker's share; it adds up what the loop finds for their rows.

    Attributes:
        rows: validation rows of all workers.
        began: when it began, by the context's clock.
        reported: whether its result has been given.
    """

    def __init__(
        self, passes: ValidationPasses, *, device: torch.device, rows: int, began: float
    ) -> None:
        self.rows = rows
        self.began = began
        self.reported = False
        self._batches = passes.begin()
        self._device = device
        self._batch: ContextBatch | None = None
        self._totals: Totals | None = None

    def __iter__(self) -> Iterator[ContextBatch]:
        for step, batch in enumerate(self._batches):
            # Of a weight that nobody uses: there is no backward pass.
            self._batch = ContextBatch.make(batch, step=step, world_size=1, device=self._device)
            yield self._batch

    def add(self, **values: Tensor) -> None:
        """Takes values of the rows of the batch in hand, [rows] each, or scalars, their means."""
        if (batch := self._batch) is None:
            raise MisuseError("add() is called before the pass gave a batch")
        found = row_totals(values, rows=batch.size, counted=batch.counted)
        self._totals = found if self._totals is None else self._totals.plus(found)

    def means(self) -> dict[str, float]:
        """The mean of each value over the rows of all workers; all have to call it."""
        if self._totals is None:
            raise MisuseError("means() is called before add() took a value")
        check_same_names(self._totals.names)
        return self._totals.over_ranks().means()
