"""A model that is large for its rows, so that its state is what there is to save."""

from torch import Tensor, nn
from torch.nn import functional

from benchmarks.tiny import FEATURES
from orchestrator import TrainTask

WIDTH = 2_048


class WideTask(TrainTask):
    """Four layers of 8.4 million weights, which with Adam's averages make about 100 MB."""

    def build_model(self) -> nn.Module:
        return nn.Sequential(
            nn.Linear(FEATURES, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, 2),
        )

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        scores = model(batch["x"])
        return functional.cross_entropy(scores, batch["label"], reduction="none"), {}
