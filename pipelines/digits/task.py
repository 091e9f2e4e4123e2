"""Tell the ten digits apart with a small convolutional network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional

from orchestrator import TrainTask

if TYPE_CHECKING:
    from torch import Tensor

NUM_CLASSES = 10


class DigitsTask(TrainTask):
    """Classify `image` [rows, 1, 8, 8] into `label` [rows].

    Neither dropout nor batch norm: a row's loss depends on that row and the weights alone, so the
    number of workers changes nothing but rounding.

    Args:
        width: channels of the first convolution; the others have twice as many.
    """

    def __init__(self, width: int = 16) -> None:
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        self.width = width

    def build_model(self) -> nn.Module:
        """Three convolutions and one linear layer; 8 x 8 pixels shrink to 4 x 4, then 2 x 2."""
        width = self.width
        return nn.Sequential(
            nn.Conv2d(1, width, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(2 * width, 2 * width, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(2 * width * 2 * 2, NUM_CLASSES),
        )

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross entropy of each row, and whether its likeliest class is the right one."""
        scores, labels = model(batch["image"]), batch["label"]
        losses = functional.cross_entropy(scores, labels, reduction="none")
        return losses, {"accuracy": (scores.argmax(dim=1) == labels).float()}
