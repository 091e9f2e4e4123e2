"""The training loop of a task: batches to steps, and validations between them."""

import time
from collections.abc import Callable

from orchestrator.plan.job import JobPlan
from orchestrator.train.bookkeeping import Bookkeeping
from orchestrator.train.evaluation import Evaluator
from orchestrator.train.state import TrainState
from orchestrator.train.stepper import Stepper


class TrainingLoop:
    """Trains from the state's step to the plan's last one; all ranks run it in step."""

    def __init__(
        self,
        plan: JobPlan,
        state: TrainState,
        books: Bookkeeping,
        stepper: Stepper,
        evaluator: Evaluator | None,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._plan = plan
        self._state = state
        self._books = books
        self._stepper = stepper
        self._evaluator = evaluator
        self._clock = clock

    def run(self) -> None:
        """Trains until the plan's last step."""
        for batch in self._books.batches():
            if not self._books.left_out():
                self._books.trained(self._stepper.step(batch, self._state.step))
            if self._evaluator is not None and self._plan.validation_due(self._state.step):
                self._validate(self._evaluator)

    def _validate(self, evaluator: Evaluator) -> None:
        began = self._clock()
        try:
            scores = evaluator.evaluate()
        except Exception:  # raised again, once what is done is saved
            # What has been trained is not to be lost with a validation that fails.
            self._books.rescue()
            raise
        self._books.validated(scores.metrics, rows=scores.rows, seconds=self._clock() - began)
