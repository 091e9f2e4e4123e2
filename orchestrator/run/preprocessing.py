"""The states of the fitted transforms: from the attempt's checkpoint, or from a pass of its own."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydantic import JsonValue

from orchestrator.checkpoint.attempts import Attempt
from orchestrator.checkpoint.files import storage_errors
from orchestrator.data.fitted import PREPROCESSING_FILE, FittedState, dump_states, parse_states
from orchestrator.data.fitting import fit_transform
from orchestrator.errors import CheckpointError
from orchestrator.jsonl import JsonLinesWriter
from orchestrator.plan.job import JobPlan
from orchestrator.run.apart import run_apart
from orchestrator.run.directory import RunDirectory, replace_file


class Preprocessing:
    """What the transforms of a plan are fitted to, under one driver."""

    def __init__(self, plan: JobPlan, directory: RunDirectory, events: JsonLinesWriter) -> None:
        self._plan = plan
        self._directory = directory
        self._events = events
        self._fitted_here: tuple[FittedState, ...] | None = None

    def of(self, attempt: Attempt, *, check: Callable[[], None]) -> tuple[FittedState, ...]:
        """The states for an attempt, written to the run's directory before it trains.

        Args:
            check: called several times a second in this thread; what it raises ends the wait.

        Raises:
            CheckpointError: the attempt's checkpoint holds none of these transforms.
            DataError: a transform cannot be fitted.
            ray.exceptions.RayError: the pass over the training rows failed.
        """
        if not self._plan.fitted:
            return ()
        states = self.from_checkpoint(attempt.checkpoint, attempt.number, check=check)
        replace_file(self._directory.path / PREPROCESSING_FILE, dump_states(states))
        return states

    def from_checkpoint(
        self, checkpoint: str | None, attempt: int | None, *, check: Callable[[], None]
    ) -> tuple[FittedState, ...]:
        """The states in a checkpoint; those of a pass where there is none."""
        if not self._plan.fitted:
            return ()
        if checkpoint is not None:
            return self._read(checkpoint)
        # Another attempt from the start has the same rows, and they give the same.
        self._fitted_here = self._fitted_here or self._fit(attempt, check)
        return self._fitted_here

    def _read(self, checkpoint: str) -> tuple[FittedState, ...]:
        """The states in a checkpoint whose files have been verified."""
        path = self._directory.path / "checkpoints" / checkpoint / PREPROCESSING_FILE
        try:
            with storage_errors("read", path):
                states = parse_states(path.read_text())
        except ValueError as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error
        wanted = [(fit.use, fit.position) for fit in self._plan.fitted]
        if [(state.use, state.position) for state in states] != wanted:
            raise CheckpointError(
                f"{path} holds the states of {', '.join(state.use for state in states)}, wanted"
                f" {', '.join(fit.use for fit in self._plan.fitted)}"
            )
        return states

    def _fit(self, attempt: int | None, check: Callable[[], None]) -> tuple[FittedState, ...]:
        """Fits one transform after another; each sees the rows as those before it leave them."""
        root = Path(self._plan.spec.runtime.working_dir)
        states: tuple[FittedState, ...] = ()
        for fit in self._plan.fitted:
            self._tell("fitting", attempt, use=fit.use)
            began = time.monotonic()
            work = partial(fit_transform, self._plan.train, fit, root=root, fitted=states)
            states += (run_apart(work, check),)
            rows, seconds = self._plan.train.index.rows, time.monotonic() - began
            self._tell("fitted", attempt, use=fit.use, rows=rows, seconds=seconds)
        return states

    def _tell(self, event: str, attempt: int | None, **fields: JsonValue) -> None:
        self._events.write({"time": time.time(), "event": event, "attempt": attempt, **fields})
