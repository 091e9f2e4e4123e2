"""What a loop of the user's own gets: its batches, and the books that every step has to go in."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from orchestrator.plan.job import JobPlan
from orchestrator.train.bookkeeping import Bookkeeping
from orchestrator.train.context_batch import ContextBatch
from orchestrator.train.context_validation import ValidationPass
from orchestrator.train.outcome import StepOutcome
from orchestrator.train.parts import ModelPart, ObjectPart, Part, Stateful, unsaveable
from orchestrator.train.passes import ValidationPasses
from orchestrator.train.state import TrainState
from orchestrator.train.stepper import world
from orchestrator.train.strategy import DdpStrategy
from orchestrator.train.totals import plain_numbers, row_totals
from orchestrator.train.user_code import MisuseError


class TrainContext:
    """What `training.loop` trains with: one step after another, exact and resumable.

    The loop restores what has to outlive a restart, then goes through `batches()`, and calls
    `step_done()` for each. What follows a step until the next batch is asked for belongs to it: it
    is then that a checkpoint which is due is written. All workers have to make the same calls.

    Attributes:
        rank: this worker's number, from 0 on.
        world_size: how many workers there are.
        device: where the batches are, and the model should be.
        total_steps: steps of the whole run.
    """

    def __init__(
        self,
        plan: JobPlan,
        state: TrainState,
        books: Bookkeeping,
        passes: ValidationPasses | None,
        *,
        read: Callable[[TrainState], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.rank, self.world_size = world()
        self.device = state.device
        self.total_steps = plan.total_steps
        self._plan = plan
        self._state = state
        self._books = books
        self._passes = passes
        self._read = read
        self._clock = clock
        self._restored = False
        self._batch: ContextBatch | None = None
        self._pass: ValidationPass | None = None
        self._numbers: dict[str, float] = {}

    @property
    def step(self) -> int:
        """Steps of the whole run that are done."""
        return self._state.step

    @property
    def epoch(self) -> int:
        """The epoch of the batch in hand, or of the one that comes first; counted from 0."""
        if self._batch is not None:
            return self._batch.epoch
        return self._plan.train.geometry.cursor(self._state.step).epoch

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model on the device; its gradients are averaged over the workers.

        The order of the additions is settled here, so that a restart adds as the first run did.
        """
        return DdpStrategy(model, self.device).trainable

    def accumulating(self, model: nn.Module) -> AbstractContextManager[None]:
        """Around all forward and backward passes of a step but the last, which averages them all.

        Needed where a step has several: workers differ in their rows, and so in their passes.
        """
        return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()

    def restore(self, **parts: Stateful) -> None:
        """Names what a checkpoint has to keep, and loads it where the run is resumed.

        To be called once before `batches()`, with everything that changes in training and has
        `state_dict` and `load_state_dict`: `restore(model=model, optimizer=optimizer)`. The weights
        of the part "model" are those that the run exports.
        """
        if self._restored:
            raise MisuseError("restore() is called a second time; wanted one call for all parts")
        self._restored = True
        self._state.parts.update({name: _part(name, value) for name, value in parts.items()})
        self._read(self._state)

    def batches(self) -> Iterator[ContextBatch]:
        """The batches that are left, in order, from where the run stands."""
        if not self._restored:
            raise MisuseError(
                "restore() has to be called before batches(), so that a run can go on"
            )
        for batch in self._books.batches():
            self._pass = None
            self._batch = ContextBatch.make(
                batch, step=self._state.step, world_size=self.world_size, device=self.device
            )
            yield self._batch

    def step_done(self, losses: Tensor | None = None, **metrics: Tensor) -> None:
        """Says that the batch in hand is trained: it is counted, and reported if it is time.

        Args:
            losses: one a row, [rows], or a scalar mean; by default what `batch.mean` got.
            metrics: further values for the report, likewise.
        """
        if (batch := self._batch) is None:
            raise MisuseError("step_done() is called before batches() gave a batch")
        found = batch.losses(losses)
        totals = row_totals(
            {**metrics, "loss": found.values}, rows=batch.size, counted=batch.counted
        )
        self._books.trained(StepOutcome(totals=totals, losses=found), more=self._take_numbers)

    def save(self) -> None:
        """Saves the step that was just done, whatever the spec says.

        All workers have to call it, as they bring the first one what it needs from them.
        """
        self._books.save()

    def report(self, **numbers: float) -> None:
        """Writes numbers of the user's own; those of the first worker count.

        The first after `validation()` are its result, by which `checkpoint.best` chooses. Others
        stand beside the loss in the next report of training.
        """
        found = plain_numbers(numbers, source="context.report")
        if self._pass is not None and not self._pass.reported:
            self._pass.reported = True
            seconds = self._clock() - self._pass.began
            self._books.validated(found, rows=self._pass.rows, seconds=seconds)
        else:
            self._numbers.update(found)

    @property
    def validation_due(self) -> bool:
        """Whether the step that was just done is to be followed by a validation."""
        return (
            self._books.unfinished is not None
            and self._passes is not None
            and self._plan.validation_due(self._state.step)
        )

    def validation(self) -> ValidationPass:
        """One pass over this worker's share of the validation rows; where it is due, and once."""
        if not self.validation_due or self._pass is not None:
            raise MisuseError(
                "validation() is for a step after which validation_due is true, and once"
            )
        assert self._passes is not None  # else none would be due
        assert self._plan.validation is not None
        self._pass = ValidationPass(
            self._passes,
            device=self.device,
            rows=self._plan.validation.geometry.rows,
            began=self._clock(),
        )
        return self._pass

    def _take_numbers(self) -> dict[str, float]:
        numbers, self._numbers = self._numbers, {}
        return numbers


def learning_rate(state: TrainState) -> float:
    """That of the first optimizer among the parts; not a number where there is none."""
    for part in state.parts.values():
        if isinstance(part, ObjectPart) and isinstance(part.content, Optimizer):
            return float(part.content.param_groups[0]["lr"])
    return float("nan")


def _part(name: str, value: object) -> Part:
    if isinstance(value, nn.Module):
        # A checkpoint is the same whether the model was shared among workers or not.
        return ModelPart(value.module if isinstance(value, DistributedDataParallel) else value)
    if not (hasattr(value, "state_dict") and hasattr(value, "load_state_dict")):
        raise MisuseError(
            f"restore() got {name} of type {type(value).__name__}; wanted something with state_dict"
            " and load_state_dict"
        )
    part = ObjectPart(value)
    if (why := unsaveable(part.state())) is not None:
        raise MisuseError(
            f"the state of {name} could not be read from a checkpoint: {why}; wanted tensors,"
            " numbers, text, and lists or dicts of them"
        )
    return part
