"""The training task: the small class a user writes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn
from torch.optim import Optimizer

from orchestrator.errors import JobFailedError
from orchestrator.spec.training import AdamW, Sgd
from orchestrator.train.optimizer import default_optimizer

Batch = dict[str, Tensor]
LossOutput = Tensor | tuple[Tensor, Mapping[str, Tensor]]


class TrainTask(ABC):
    """What to train. Constructed once in each worker with the spec's `training.with`.

    A batch holds one tensor for each numeric column that the transforms return, [rows, ...]; text
    and bytes stay behind. Losses and metrics are per row, so that their means are exact however the
    rows are shared out among workers.
    """

    @abstractmethod
    def build_model(self) -> nn.Module:
        """The model with its initial weights; called with the seed set, before any data is read."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> LossOutput:
        """The loss of each row, [rows], and optionally named metrics of each row.

        The gradient is that of the mean over the global batch. A scalar counts as the mean over the
        rows of this batch.
        """

    def evaluate(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Metrics of each row for validation, [rows] each; the model is in evaluation mode.

        By default the loss as "loss", and the metrics that `loss` returns.
        """
        losses, metrics = split_output(self.loss(model, batch))
        return {"loss": losses, **metrics}

    def summarise(self, values: Mapping[str, Tensor]) -> Mapping[str, float]:
        """The record of a validation, made from its whole pass: a metric that is no mean of rows.

        By default the mean of each value, for which nothing has to be collected. Where a task has
        its own, it is called on the first worker, with all that `evaluate` returned for every row:
        a tensor [rows] for each name, on the CPU, in the order of the rows however many workers
        there are. That worker's memory has to hold them: 8 bytes a value at most, and 8 bytes a
        row. What it returns is all that is recorded, and may be chosen by `checkpoint.best`.
        Before the first step it is tried with the rows of one batch, for the names alone.
        """
        return {name: float(value.double().mean()) for name, value in values.items()}

    def build_optimizer(self, model: nn.Module, spec: AdamW | Sgd) -> Optimizer:
        """The optimizer; by default the one of the spec over all parameters that want gradients.

        Its learning rate is multiplied by the schedule of the spec in every step.
        """
        return default_optimizer(model, spec)


def split_output(output: LossOutput) -> tuple[Tensor, Mapping[str, Tensor]]:
    """The losses and the metrics of what a task's `loss` returned.

    Raises:
        JobFailedError: it returned something else.
    """
    match output:
        case Tensor():
            return output, {}
        case (Tensor() as losses, Mapping() as metrics):
            return losses, metrics
    raise JobFailedError(
        f"the task's loss returned {_shape_of(output)}; wanted a tensor of one loss a row, or a"
        " pair of that and a mapping of metrics"
    )


def _shape_of(output: object) -> str:
    if isinstance(output, tuple):
        return f"a tuple of {', '.join(type(part).__name__ for part in output) or 'nothing'}"
    return f"a value of type {type(output).__name__}"
