"""The user's task as the loop calls it: an error is told with its place in the user's code."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from orchestrator.errors import JobFailedError, OrchestratorError, SpecError
from orchestrator.spec.training import AdamW, Sgd, TrainingSpec
from orchestrator.symbols import resolve_symbol, user_trace
from orchestrator.train.task import Batch, LossOutput, TrainTask

# What a RuntimeError says when it was not the user's code: a lost neighbour, or the device.
_PASSING = ("gloo", "NCCL", "nccl", "CUDA error", "Socket", "Connection")


def load_task(spec: TrainingSpec, root: Path) -> TrainTask:
    """The task of a spec, constructed.

    Raises:
        SpecError: it is no task, is not complete, or does not take the spec's `with`.
    """
    symbol = resolve_symbol(spec.task, root)
    if not (isinstance(symbol, type) and issubclass(symbol, TrainTask)):
        raise SpecError(
            f"training.task: {spec.task} is not a class derived from orchestrator.TrainTask"
        )
    if missing := sorted(getattr(symbol, "__abstractmethods__", ())):
        raise SpecError(f"training.task: {spec.task} does not define {', '.join(missing)}")
    try:
        task = symbol(**spec.with_)
    except Exception as error:  # the user's code may raise anything; it is named and passed on
        raise SpecError(
            f"training.task: {spec.task} cannot be constructed:"
            f" {type(error).__name__}: {error}{user_trace(error, root)}"
        ) from error
    return _GuardedTask(task, name=spec.task, root=root)


class _GuardedTask(TrainTask):
    """Passes every call on; an error that another attempt would give again ends the run."""

    def __init__(self, task: TrainTask, *, name: str, root: Path) -> None:
        self._task = task
        self._name = name
        self._root = root

    def build_model(self) -> nn.Module:
        with self._guard("build_model"):
            return self._task.build_model()

    def loss(self, model: nn.Module, batch: Batch) -> LossOutput:
        with self._guard("loss"):
            return self._task.loss(model, batch)

    def evaluate(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        with self._guard("evaluate"):
            return self._task.evaluate(model, batch)

    def build_optimizer(self, model: nn.Module, spec: AdamW | Sgd) -> Optimizer:
        with self._guard("build_optimizer"):
            return self._task.build_optimizer(model, spec)

    @contextmanager
    def _guard(self, method: str) -> Iterator[None]:
        try:
            yield
        except OrchestratorError:
            raise
        except Exception as error:
            if _may_pass(error):
                raise
            raise JobFailedError(
                f"{self._name}.{method} failed: {type(error).__name__}: {error}"
                f"{user_trace(error, self._root)}"
            ) from error


def _may_pass(error: Exception) -> bool:
    """Whether another attempt may fare better: a neighbour, the storage or the device failed."""
    if isinstance(error, OSError | MemoryError | torch.OutOfMemoryError | dist.DistError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _PASSING)
