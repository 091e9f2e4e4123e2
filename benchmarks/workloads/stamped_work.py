"""The model of the start-up workloads; whoever trains it, each step is stamped with its time."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Optimizer

from benchmarks.workloads.tabular_work import CATEGORIES, NUMBERS
from orchestrator import TrainTask
from orchestrator.spec.training import AdamW, Sgd

BATCH = 1_024
_RATE = 0.01


class StampedTask(TrainTask):
    """A small perceptron; the first rank writes the moment of each optimiser step into `stamps`."""

    def __init__(self, stamps: str, step_s: float = 0.0) -> None:
        self._stamps = Path(stamps)
        self._step_s = step_s

    def build_model(self) -> nn.Module:
        return build_model()

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        time.sleep(self._step_s)
        return losses_of(model, batch), {}

    def build_optimizer(self, model: nn.Module, spec: AdamW | Sgd) -> Optimizer:
        del spec
        return build_optimizer(model, self._stamps)


def build_model() -> nn.Module:
    features = len(NUMBERS) + len(CATEGORIES)
    return nn.Sequential(nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, 2))


def losses_of(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """The loss of each row."""
    return functional.cross_entropy(model(batch["x"]), batch["label"] % 2, reduction="none")


def build_optimizer(model: nn.Module, stamps: Path) -> Optimizer:
    """Stamps after each step: a line with the monotonic clock and the number of this process."""
    optimizer = SGD(model.parameters(), lr=_RATE)
    if not dist.is_initialized() or dist.get_rank() == 0:
        optimizer.register_step_post_hook(_stamp_into(stamps))
    return optimizer


def _stamp_into(stamps: Path) -> Callable[[Optimizer, object, object], None]:
    file = stamps.open("a", buffering=1)

    def stamp(optimizer: Optimizer, arguments: object, named: object) -> None:
        del optimizer, arguments, named
        file.write(f"{time.monotonic()} {os.getpid()}\n")

    return stamp


def read_stamps(stamps: Path) -> list[tuple[float, int]]:
    """The steps so far: the moment and the process of each."""
    if not stamps.exists():
        return []
    text = stamps.read_text()
    # The last line may be half written.
    lines = text[: text.rfind("\n") + 1].splitlines()
    pairs = (line.split() for line in lines)
    return [(float(moment), int(process)) for moment, process in pairs]
