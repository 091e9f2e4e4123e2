"""A small task for tests: a classifier with dropout that can be slow and can record its rows."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from orchestrator import TrainTask

FEATURES, CLASSES = 8, 4


class SmallTask(TrainTask):
    """Args: dropout, seconds a step takes at least, and a folder for the ids of each batch."""

    def __init__(self, dropout: float = 0.1, step_s: float = 0.0, log: str = "") -> None:
        self._dropout = dropout
        self._step_s = step_s
        self._log = Path(log) if log else None

    def build_model(self) -> nn.Module:
        return nn.Sequential(
            nn.Linear(FEATURES, 64),
            nn.ReLU(),
            nn.Dropout(self._dropout),
            nn.Linear(64, 64),
            nn.ReLU(),
            nn.Linear(64, CLASSES),
        )

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        if model.training:
            time.sleep(self._step_s)
            self._record(batch["id"])
        scores = model(batch["x"])
        losses = functional.cross_entropy(scores, batch["label"], reduction="none")
        return losses, {"accuracy": (scores.argmax(dim=1) == batch["label"]).float()}

    def _record(self, ids: Tensor) -> None:
        if self._log is not None:
            line = " ".join(map(str, ids.tolist()))
            with (self._log / f"{os.getpid()}.txt").open("a") as file:
                file.write(line + "\n")


class BrokenTask(SmallTask):
    """Raises in the first step, as a user's mistake would."""

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        raise KeyError("colour")


class NanTask(SmallTask):
    """Its loss is no number."""

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        losses, metrics = super().loss(model, batch)
        return losses * torch.tensor(float("nan")), metrics


class ColourTask(SmallTask):
    """Asks for a column that the data lack."""

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        return super().loss(model, {**batch, "x": batch["colour"]})


class RankingTask(SmallTask):
    """Records a number that is no mean of rows."""

    def evaluate(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"id": batch["id"]}

    def summarise(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        return {
            "last": float(values["id"][-1]),
            "in_order": float((values["id"].diff() == 1).all()),
        }


class CudaTask(SmallTask):
    """Is at a loss anywhere but on a GPU."""

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        if not batch["x"].is_cuda:
            raise ValueError(f"x is on {batch['x'].device}")
        return super().loss(model, batch)
