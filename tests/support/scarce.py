"""A task for which memory does not suffice above a number of rows, and ranks that train it."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from orchestrator.plan.geometry import StreamGeometry
from orchestrator.spec.training import Constant, Sgd
from orchestrator.train import exchange
from orchestrator.train.optimizer import ScheduledOptimizer
from orchestrator.train.out_of_memory import MemoryRetries
from orchestrator.train.recorder import Recorder
from orchestrator.train.state import TrainState
from orchestrator.train.stepper import Stepper, world
from orchestrator.train.strategy import DdpStrategy
from tests.support.task import SmallTask
from tests.support.training import (
    CPU,
    SEED,
    ConvTask,
    digest,
    optimizer_of,
    train_steps,
)

Where = Literal["forward", "backward", "nowhere"]


class _Break(torch.autograd.Function):
    """Runs out of memory in the middle of a backward pass."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise torch.OutOfMemoryError("out of memory in backward")


class _Breaking(nn.Module):
    """A model whose forward or backward pass can be told to fail, with layers on both sides."""

    def __init__(self, layers: nn.Sequential, where: Where) -> None:
        super().__init__()
        self.layers = layers
        self.where = where
        self.most: int | None = None

    def forward(self, values: Tensor) -> Tensor:
        broken = self.most is not None and len(values) > self.most
        middle = len(self.layers) // 2
        values = self.layers[:middle](values)
        if broken and self.where == "forward":
            raise torch.OutOfMemoryError("out of memory in forward")
        if broken and self.where == "backward":
            values = _Break.apply(values)
        return self.layers[middle:](values)  # type: ignore[no-any-return]


class ScarceTask(ConvTask):
    """Has memory for so many rows at a time on one rank, and for any number on the others."""

    def __init__(self, *, most: int, rank: int, where: Where, **options: Any) -> None:
        super().__init__(width=24, **options)
        self._most, self._rank, self._where = most, rank, where

    def build_model(self) -> nn.Module:
        layers = super().build_model()
        assert isinstance(layers, nn.Sequential)
        return _Breaking(layers, self._where)

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        breaking = next(part for part in model.modules() if isinstance(part, _Breaking))
        breaking.most = self._most if world()[0] == self._rank else None
        return super().loss(model, batch)


def train_scarce(
    task: ConvTask,
    cuts: StreamGeometry,
    until: int,
    *,
    micro: int | None = None,
    retries: int = 6,
    start_from: Path | None = None,
    save_to: Path | None = None,
    events: Path | None = None,
) -> dict[str, Any]:
    """Trains as a worker does, with retries; the weights, and the size that was found to fit."""
    # So that a small model has buckets that are sent before the pass fails, and others after.
    exchange.BUCKET_BYTES = 200_000
    torch.manual_seed(SEED)
    model = DdpStrategy(task.build_model(), CPU, retries=True)
    optimizer = task.build_optimizer(model.model, Sgd(lr=0.05, momentum=0.9))
    scheduled = ScheduledOptimizer(optimizer, Constant(), total_steps=100)
    state = TrainState(device=CPU, parts={"model": model, "optimizer": scheduled})
    if start_from is not None:
        state.read(start_from)
    rank, _ = world()
    recorder = Recorder(events, attempt=1) if events is not None and rank == 0 else None
    stepper = scarce_stepper(task, state, model, micro=micro, retries=retries, recorder=recorder)
    found = []
    while state.step < until:
        train_steps(stepper, state, cuts, until=state.step + 1)
        assert state.interval is not None
        found.append(state.interval.means()["loss"])
    if recorder is not None:
        recorder.close()
    if save_to is not None and rank == 0:
        state.write(save_to)
    return {
        "digest": digest(model.state()),
        "weights": {name: value.numpy() for name, value in model.state().items()},
        "losses": found,
        "safe": None if state.safe_size is None else state.safe_size.rows,
    }


def scarce_stepper(
    task: ConvTask,
    state: TrainState,
    strategy: DdpStrategy,
    *,
    micro: int | None = None,
    retries: int = 6,
    recorder: Recorder | None = None,
) -> Stepper:
    """A stepper that tries again."""
    memory = MemoryRetries(
        strategy, state, asked=micro, retries=retries, seed=SEED, recorder=recorder
    )
    return Stepper(
        task,
        strategy,
        optimizer_of(state),
        device=state.device,
        micro_batch_size=micro,
        clip_norm=1.0,
        memory=memory,
    )


class ScarceSmallTask(SmallTask):
    """Has memory for so many rows at a time on the last of two ranks."""

    def __init__(self, most: int, **options: Any) -> None:
        super().__init__(**options)
        self._most = most

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        if model.training and world()[0] == 1 and len(batch["id"]) > self._most:
            raise torch.OutOfMemoryError(f"no room for {len(batch['id'])} rows")
        return super().loss(model, batch)


class PoisonTask(SmallTask):
    """The loss of a row is no number, or its gradient is not while the loss still is one."""

    def __init__(self, row: int, late: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self._row, self._late = row, late

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        losses, metrics = super().loss(model, batch)
        if not model.training:
            return losses, metrics
        bad = batch["id"] == self._row
        if not bool(bad.any()):
            return losses, metrics
        if self._late:
            # The root of 0 is 0, but its slope is infinite, and 0 times that is no number.
            return losses + torch.sqrt(losses * 0.0), metrics
        return torch.where(bad, losses * float("nan"), losses), metrics
