"""Tell whether a flight will be late with a small network over numbers and embedded categories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from orchestrator import TrainTask
from pipelines.flights.metrics import area_under_curve
from pipelines.flights.record import read_baseline
from pipelines.flights.transforms import CATEGORIES, CODES_PER_CATEGORY, LABEL, NUMBERS

if TYPE_CHECKING:
    from collections.abc import Mapping

# Where a relative path starts; a worker's own folder may be any.
ROOT = Path(__file__).resolve().parents[2]


class FlightsNet(nn.Module):
    """Two hidden layers over the numbers and one vector for each category.

    Args:
        width: units of a hidden layer.
        dimensions: length of the vector that stands for a category.
    """

    first_code: Tensor

    def __init__(self, *, width: int, dimensions: int) -> None:
        super().__init__()
        # One table for all categories, each with its own stretch of it.
        self.embedding = nn.Embedding(len(CATEGORIES) * CODES_PER_CATEGORY, dimensions)
        nn.init.normal_(self.embedding.weight, std=0.1)
        starts = torch.arange(len(CATEGORIES)) * CODES_PER_CATEGORY
        self.register_buffer("first_code", starts)
        self.layers = nn.Sequential(
            # The numbers, as many marks of gaps, and the vectors.
            nn.Linear(2 * len(NUMBERS) + len(CATEGORIES) * dimensions, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, 1),
        )

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """The log-odds of being late, [rows]."""
        vectors = self.embedding(codes + self.first_code).flatten(start_dim=1)
        scores: Tensor = self.layers(torch.cat([numbers, vectors], dim=1))
        return scores.squeeze(1)


class FlightsTask(TrainTask):
    """Tell `late` [rows] from `numbers` and `codes`.

    Neither dropout nor batch norm: a row's loss depends on that row and the weights alone, so the
    number of workers changes nothing but rounding.

    Args:
        width: units of each of the two hidden layers.
        dimensions: length of the vector that stands for a category.
        baseline: record of a simpler model, whose figures go beside ours; a relative path starts
            at the folder that holds `pipelines`.
    """

    def __init__(self, width: int = 32, dimensions: int = 8, baseline: str | None = None) -> None:
        if width < 1 or dimensions < 1:
            raise ValueError(f"width ({width}) and dimensions ({dimensions}) must be at least 1")
        self.width = width
        self.dimensions = dimensions
        self.baseline = None if baseline is None else read_baseline(ROOT / baseline)

    def build_model(self) -> nn.Module:
        """Embeddings and two hidden layers."""
        return FlightsNet(width=self.width, dimensions=self.dimensions)

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Binary cross entropy of each row."""
        return self.evaluate(model, batch)["loss"]

    def evaluate(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of each row its loss, its score, and whether it was late; `summarise` gets them all."""
        scores = model(batch["numbers"], batch["codes"])
        late = batch[LABEL]
        losses = functional.binary_cross_entropy_with_logits(
            scores, late.to(scores.dtype), reduction="none"
        )
        return {"loss": losses, "score": scores, "late": late}

    def summarise(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """The area under the curve over all validation rows, beside what is easily reached.

        An area of 0.5 is chance; `base_rate` is the share of late flights.
        """
        late = values["late"].bool()
        ours = {
            "auc": area_under_curve(values["score"], late),
            "base_rate": float(late.double().mean()),
            "loss": float(values["loss"].double().mean()),
        }
        if self.baseline is None:
            return ours
        self.baseline.check_same_rows(rows=len(late), late=int(late.sum()))
        return ours | {"auc_logistic": self.baseline.auc, "loss_logistic": self.baseline.log_loss}
