"""The training loop: batches to steps, reports, validations and checkpoints."""

import math
import time
from collections.abc import Callable, Iterable, Mapping

import torch
import torch.distributed as dist

from orchestrator.data.feed import Feed, LocalBatch
from orchestrator.errors import JobFailedError
from orchestrator.plan.job import JobPlan
from orchestrator.train.evaluation import Evaluator
from orchestrator.train.optimizer import ScheduledOptimizer
from orchestrator.train.recorder import NOT_FINITE_HINT, Recorder
from orchestrator.train.saving import Saver
from orchestrator.train.state import TrainState
from orchestrator.train.stepper import Stepper


class TrainingLoop:
    """Trains from the state's step to the plan's last one; all ranks run it in step.

    Args:
        feed: where the batches come from, asked for its waiting time only.
        recorder, saver: given to the first rank alone.
    """

    def __init__(
        self,
        plan: JobPlan,
        state: TrainState,
        stepper: Stepper,
        feed: Feed,
        evaluator: Evaluator | None,
        *,
        recorder: Recorder | None,
        saver: Saver | None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._plan = plan
        self._state = state
        self._stepper = stepper
        self._feed = feed
        self._evaluator = evaluator
        self._recorder = recorder
        self._saver = saver
        self._clock = clock
        # Time, rows and waiting since the last report. Validations and saves do not count: the
        # first rank's clock tells, as the others wait in their next step while it saves.
        self._training_s = self._waited = 0.0
        self._reported_rows = state.rows

    def run(self, batches: Iterable[LocalBatch]) -> None:
        """Trains until the plan's last step."""
        state, began = self._state, self._clock()
        self._waited = self._feed.wait_s
        for batch in batches:
            totals = self._stepper.step(batch, state.step)
            state.step += 1
            state.rows += batch.global_rows
            state.interval = totals if state.interval is None else state.interval.plus(totals)
            self._training_s += self._clock() - began
            self._after_step(batch)
            if state.step == self._plan.total_steps:
                return
            began = self._clock()
        raise JobFailedError(
            f"the stream ended after step {state.step} of {self._plan.total_steps}"
        )

    def _after_step(self, batch: LocalBatch) -> None:
        step, last = self._state.step, self._state.step == self._plan.total_steps
        if last or step % self._plan.spec.training.report_every == 0:
            self._report(batch.epoch)
        metrics: dict[str, float] = {}
        try:
            if self._evaluator is not None and self._plan.validation_due(step):
                metrics = self._validate(self._evaluator, batch.epoch)
        except Exception:
            # What has been trained is not to be lost with a validation that fails; but a run is
            # not finished without its last one.
            if not last:
                self._save(batch, metrics)
            raise
        self._save(batch, metrics)

    def _save(self, batch: LocalBatch, metrics: Mapping[str, float]) -> None:
        if self._saver is not None:
            finished = batch.step + 1 == self._plan.train.geometry.steps_per_epoch
            self._saver.after_step(self._state, epoch_finished=finished, metrics=metrics)

    def _report(self, epoch: int) -> None:
        state = self._state
        assert state.interval is not None  # a step has just been added to it
        means = state.interval.means()
        state.interval = None
        if not math.isfinite(means["loss"]):
            raise JobFailedError(
                f"the loss became {means['loss']} by step {state.step} (epoch {epoch});"
                " the weights of that step are not saved",
                hint=NOT_FINITE_HINT,
            )
        waited, self._waited = self._feed.wait_s - self._waited, self._feed.wait_s
        longest_wait = _largest(waited)
        train_s, self._training_s = max(self._training_s, 1e-9), 0.0
        rows, self._reported_rows = state.rows - self._reported_rows, state.rows
        if self._recorder is not None:
            self._recorder.training(
                epoch=epoch,
                step=state.step,
                rows=state.rows,
                lr=_learning_rate(state.optimizer, state.step),
                means=means,
                rows_per_s=rows / train_s,
                wait_share=min(1.0, longest_wait / train_s),
            )

    def _validate(self, evaluator: Evaluator, epoch: int) -> dict[str, float]:
        began = self._clock()
        totals = evaluator.evaluate()
        means = totals.means()
        if self._recorder is not None:
            self._recorder.validation(
                epoch=epoch,
                step=self._state.step,
                rows=totals.rows,
                means=means,
                seconds=self._clock() - began,
            )
        return means


def _largest(value: float) -> float:
    """The largest of all ranks' values: all wait for the one that waits longest for its data."""
    tensor = torch.tensor(value, dtype=torch.float64)
    if dist.is_initialized() and dist.get_world_size() > 1:
        if dist.get_backend() == "nccl":
            tensor = tensor.cuda()
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return float(tensor)


def _learning_rate(optimizer: ScheduledOptimizer, steps_done: int) -> float:
    """The learning rate of the last step that was done."""
    return optimizer.learning_rate(steps_done - 1)
