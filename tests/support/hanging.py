"""Ranks that hang: in a real run, and as a process alone (python -m tests.support.hanging)."""

import ctypes
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch.distributed as dist
from torch import Tensor, nn

from orchestrator.train.pulse import Pulse
from tests.support.task import SmallTask


@dataclass
class Steps:
    step: int = 5


def sleep_for_ever() -> None:
    while True:
        time.sleep(1)


class HangingTask(SmallTask):
    """Hangs once: in step `hang_at` of the first attempt to come to it, on the second rank."""

    def __init__(self, hang_at: int, marker: str, step_s: float) -> None:
        super().__init__(step_s=step_s)
        self._left = hang_at
        self._marker = Path(marker)

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        if model.training and dist.get_rank() == 1:
            self._left -= 1
            if self._left == 0 and not self._marker.exists():
                self._marker.touch()
                sleep_for_ever()
        return super().loss(model, batch)


def hold_the_lock_for_ever() -> None:
    """In compiled code that never gives Python's lock back: a PyDLL keeps it."""
    ctypes.PyDLL(None).sleep(600)


def main(folder: Path, how: str) -> None:
    with Pulse(folder, Steps(), rank=1, workers=2, node="here", period_s=0.05):
        {"sleep": sleep_for_ever, "lock": hold_the_lock_for_ever}[how]()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
