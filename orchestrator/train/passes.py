"""The validation stream, pass by pass."""

from collections.abc import Iterator
from itertools import chain

from orchestrator.data.feed import LocalBatch
from orchestrator.errors import JobFailedError


class ValidationPasses:
    """Gives one pass after another over the validation rows: this rank's share of each batch.

    One stream carries all the passes of a run: it rests between them with its next blocks ready, so
    that a validation starts at once.
    """

    def __init__(self, batches: Iterator[LocalBatch], *, steps: int) -> None:
        self._batches = batches
        self._steps = steps
        self._left = 0
        # Batches so far: that a long validation gets further is seen by it.
        self.given = 0

    def first(self) -> LocalBatch:
        """The next pass's first batch, which that pass will still give."""
        batch = next(self)
        self._batches = chain([batch], self._batches)
        return batch

    def begin(self) -> Iterator[LocalBatch]:
        """The next pass; what is left of the one before is skipped."""
        for _ in range(self._left):
            next(self)
        self._left = self._steps
        while self._left:
            self._left -= 1
            yield next(self)

    def __next__(self) -> LocalBatch:
        batch = next(self._batches, None)
        if batch is None:
            raise JobFailedError("the validation stream ended in the middle of a pass")
        self.given += 1
        return batch
