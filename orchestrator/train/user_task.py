"""The user's task as the loop calls it."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from torch import Tensor, nn
from torch.optim import Optimizer

from orchestrator.errors import SpecError
from orchestrator.spec.training import AdamW, Sgd
from orchestrator.symbols import resolve_symbol, user_trace
from orchestrator.train.task import Batch, LossOutput, TrainTask
from orchestrator.train.totals import plain_numbers
from orchestrator.train.user_code import user_code


def load_task(reference: str, arguments: Mapping[str, object], root: Path) -> "GuardedTask":
    """The task of a spec, constructed.

    Raises:
        SpecError: it is no task, is not complete, or does not take the spec's `with`.
    """
    symbol = resolve_symbol(reference, root)
    if not (isinstance(symbol, type) and issubclass(symbol, TrainTask)):
        raise SpecError(
            f"training.task: {reference} is not a class derived from orchestrator.TrainTask"
        )
    if missing := sorted(getattr(symbol, "__abstractmethods__", ())):
        raise SpecError(f"training.task: {reference} does not define {', '.join(missing)}")
    try:
        task = symbol(**arguments)
    except Exception as error:  # the user's code may raise anything; it is named and passed on
        raise SpecError(
            f"training.task: {reference} cannot be constructed:"
            f" {type(error).__name__}: {error}{user_trace(error, root)}"
        ) from error
    return GuardedTask(task, name=reference, root=root)


class GuardedTask(TrainTask):
    """Passes every call on; an error that another attempt would give again ends the run."""

    def __init__(self, task: TrainTask, *, name: str, root: Path) -> None:
        self._task = task
        self._name = name
        self._root = root

    @property
    def summarises(self) -> bool:
        """Whether the user's task makes a validation's record itself."""
        return type(self._task).summarise is not TrainTask.summarise

    def build_model(self) -> nn.Module:
        with self._guard("build_model"):
            return self._task.build_model()

    def loss(self, model: nn.Module, batch: Batch) -> LossOutput:
        with self._guard("loss"):
            return self._task.loss(model, batch)

    def evaluate(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        with self._guard("evaluate"):
            return self._task.evaluate(model, batch)

    def summarise(self, values: Mapping[str, Tensor]) -> Mapping[str, float]:
        with self._guard("summarise"):
            return plain_numbers(
                self._task.summarise(values), source=f"training.task: {self._name}.summarise"
            )

    def build_optimizer(self, model: nn.Module, spec: AdamW | Sgd) -> Optimizer:
        with self._guard("build_optimizer"):
            return self._task.build_optimizer(model, spec)

    def _guard(self, method: str) -> AbstractContextManager[None]:
        return user_code(f"{self._name}.{method}", field="training.task", root=self._root)
