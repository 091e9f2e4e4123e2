"""A job whose numbers are the same to the last bit with any number of workers, at any pace.

Sums of floats depend on the order of additions, and so on the number of workers. Here losses and
gradients are rounded to a coarse grid before they count: what another order changes is far below
it, and a row too many or too few far above.
"""

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from orchestrator import TrainTask
from orchestrator.spec.training import AdamW, Sgd
from tests.support.data import write_rows
from tests.support.runs import write_job
from tests.support.task import CLASSES, FEATURES

# Steps of the grid in one; doubles of this size are off by some 1e-15.
_GRID = 2.0**16
# 1009 rows: 43 steps an epoch, the last one of a single row, for which most workers have none.
ROWS, BATCH = 1009, 24
STEPS_PER_EPOCH = -(-ROWS // BATCH)
PREPROCESSING_WORKERS = 2


class SteadyTask(TrainTask):
    """Args: a file that holds how many seconds a step takes at least."""

    def __init__(self, pace: str) -> None:
        self._pace = Path(pace)

    def build_model(self) -> nn.Module:
        return nn.Linear(FEATURES, CLASSES, dtype=torch.float64)

    def build_optimizer(self, model: nn.Module, spec: AdamW | Sgd) -> Optimizer:
        optimizer = super().build_optimizer(model, spec)
        optimizer.register_step_pre_hook(lambda *_: _round_gradients(model))
        return optimizer

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        if model.training:
            time.sleep(float(self._pace.read_text()))
        scores = model(batch["x"].double())
        losses = functional.cross_entropy(scores, batch["label"], reduction="none")
        # The gradient is that of the loss itself.
        losses = losses + (_on_grid(losses) - losses).detach()
        return losses, {"accuracy": (scores.argmax(dim=1) == batch["label"]).double()}


def keep_pace(batch: dict[str, np.ndarray], file: str) -> dict[str, np.ndarray]:
    """Takes as long over the rows as the training, so that there is always something to kill."""
    step_s = float(Path(file).read_text())
    time.sleep(step_s * PREPROCESSING_WORKERS * len(batch["id"]) / BATCH)
    return batch


def write_steady_job(folder: Path, *, steps: int, every: int) -> Path:
    """The job, its data and its pace; the runs go below the folder.

    Args:
        steps: at least so many, in whole epochs.
        every: steps between checkpoints.
    """
    set_pace(folder, 0.0)
    pace = str(_pace_of(folder))
    return write_job(
        folder / "job.yaml",
        dataset={
            "train": {"paths": str(write_rows(folder / "train", ROWS))},
            "validation": {"paths": str(write_rows(folder / "validation", 101))},
            "shuffle": {"type": "window", "rows": 192},
        },
        transforms=[
            {"use": "tests.support.transforms:jitter", "splits": ["train"]},
            {
                "use": "tests.support.steady:keep_pace",
                "splits": ["train"],
                "with": {"file": pace},
            },
        ],
        training={
            "task": "tests.support.steady:SteadyTask",
            "with": {"pace": pace},
            "epochs": -(-steps // STEPS_PER_EPOCH),
            "global_batch_size": BATCH,
        },
        scaling={
            "superblock_steps": 4,
            "preprocessing": {"workers": PREPROCESSING_WORKERS, "cpus": 1, "tasks_in_flight": 1},
        },
        checkpoint={"storage": str(folder / "runs"), "every": f"{every} steps"},
    )


def set_pace(folder: Path, step_s: float) -> None:
    """How many seconds a step of the job takes from now on; 0 is as fast as it goes."""
    fresh = _pace_of(folder).with_suffix(".new")
    fresh.write_text(str(step_s))
    # Whole at any moment, as others read it all the time.
    fresh.replace(_pace_of(folder))


def _pace_of(folder: Path) -> Path:
    return folder / "pace"


def _on_grid(values: Tensor) -> Tensor:
    return torch.round(values * _GRID) / _GRID


def _round_gradients(model: nn.Module) -> None:
    for weight in model.parameters():
        if weight.grad is not None:
            weight.grad.copy_(_on_grid(weight.grad))
