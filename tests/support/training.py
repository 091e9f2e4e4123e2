"""Tasks, batches and plans for tests of training that need neither Ray nor files."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from orchestrator.data.codec import Columns
from orchestrator.data.feed import LocalBatch
from orchestrator.data.reader import STAND_IN_ROWS
from orchestrator.plan.geometry import Cursor, StreamGeometry, default_lanes
from orchestrator.plan.index import Column, DatasetIndex, Fragment
from orchestrator.plan.job import JobPlan, build_plan
from orchestrator.plan.origins import Origins
from orchestrator.plan.resources import ClusterCapacity
from orchestrator.spec.job import JobSpec
from orchestrator.spec.training import AdamW, Constant, Sgd
from orchestrator.train.optimizer import ScheduledOptimizer
from orchestrator.train.state import TrainState
from orchestrator.train.stepper import Stepper, seed_everything, world
from orchestrator.train.strategy import DdpStrategy
from orchestrator.train.task import TrainTask

CPU = torch.device("cpu")
SEED, PIXELS, CLASSES = 11, 6, 5


class ConvTask(TrainTask):
    """Classifies small images; with `norm` and `dropout` where a test wants them.

    Wide enough that DDP needs several buckets for its gradients.
    """

    def __init__(self, *, width: int = 8, norm: bool = False, dropout: float = 0.0) -> None:
        self._width = width
        self._norm = norm
        self._dropout = dropout

    def build_model(self) -> nn.Module:
        width = self._width
        return nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width) if self._norm else nn.Identity(),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(self._dropout),
            nn.Linear(2 * width * PIXELS * PIXELS, 16 * width),
            nn.ReLU(),
            nn.Linear(16 * width, CLASSES),
        )

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        scores = model(batch["x"])
        losses = functional.cross_entropy(scores, batch["y"], reduction="none")
        return losses, {"id": batch["id"]}


def image_columns(ids: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of rows, each a function of the row's number alone."""
    images = [np.random.default_rng(i).normal(size=(1, PIXELS, PIXELS)) for i in ids.tolist()]
    return {
        "id": ids.astype(np.int64),
        "x": np.array(images, dtype=np.float32),
        "y": (ids * 7 % CLASSES).astype(np.int64),
        "name": np.array([f"row {i}" for i in ids.tolist()], dtype=object),
    }


def geometry(*, rows: int, batch: int) -> StreamGeometry:
    """The cuts of a stream that is one window and one superblock an epoch."""
    steps = -(-rows // batch)
    return StreamGeometry(
        rows=rows,
        batch=batch,
        lanes=default_lanes(batch),
        superblock_steps=steps,
        window_steps=steps,
    )


def share(
    cuts: StreamGeometry,
    number: int,
    *,
    rank: int = 0,
    workers: int = 1,
    columns: Callable[[NDArray[np.int64]], Columns] = image_columns,
) -> LocalBatch:
    """A rank's share of the step with this number, counted through the run; rows in file order."""
    epoch, step = divmod(number, cuts.steps_per_epoch)
    start, stop = cuts.rank_span(step, rank, workers)
    rows = np.arange(start, stop)
    held = rows if len(rows) else np.full(STAND_IN_ROWS, step * cuts.batch)
    return LocalBatch(
        epoch=epoch,
        step=step,
        lane=cuts.lanes_of(rank, workers).start,
        superblock=cuts.superblock_of(Cursor(epoch=epoch, step=step)),
        offset=step % cuts.superblock_steps,
        origins=Origins(rows=rows),
        global_rows=cuts.step_rows(step),
        columns=columns(held),
    )


def make_state(
    task: TrainTask, *, spec: AdamW | Sgd | None = None, total_steps: int = 100
) -> TrainState:
    """A fresh state, with the first weights of a seed."""
    torch.manual_seed(SEED)
    strategy = DdpStrategy(task.build_model(), CPU)
    optimizer = task.build_optimizer(strategy.model, spec or Sgd(lr=0.05, momentum=0.9))
    scheduled = ScheduledOptimizer(optimizer, Constant(), total_steps=total_steps)
    return TrainState(device=CPU, parts={"model": strategy, "optimizer": scheduled})


def strategy_of(state: TrainState) -> DdpStrategy:
    return cast("DdpStrategy", state.parts["model"])


def optimizer_of(state: TrainState) -> ScheduledOptimizer:
    return cast("ScheduledOptimizer", state.parts["optimizer"])


def make_stepper(
    task: TrainTask,
    state: TrainState,
    *,
    micro_batch_size: int | None = None,
    clip_norm: float | None = None,
) -> Stepper:
    return Stepper(
        task,
        strategy_of(state),
        optimizer_of(state),
        device=CPU,
        micro_batch_size=micro_batch_size,
        clip_norm=clip_norm,
    )


def train_steps(stepper: Stepper, state: TrainState, cuts: StreamGeometry, *, until: int) -> None:
    """Trains on from the state's step, as this rank of the process group."""
    rank, workers = world()
    while state.step < until:
        batch = share(cuts, state.step, rank=rank, workers=workers)
        seed_everything(SEED, state.step, batch.lane)
        state.interval = stepper.step(batch, state.step).totals.over_ranks()
        state.step += 1
        state.rows += batch.global_rows


def digest(tensors: Mapping[str, Any]) -> str:
    """A hash of every bit of all tensors, however deep they lie."""
    text = hashlib.sha256()
    for name, value in tensors.items():
        text.update(f"{name}\0".encode())
        if isinstance(value, Mapping):
            text.update(digest(value).encode())
        elif isinstance(value, Tensor):
            text.update(value.detach().cpu().contiguous().numpy().tobytes())
        else:
            text.update(repr(value).encode())
    return text.hexdigest()


def make_plan(
    folder: Path,
    *,
    rows: int = 40,
    batch: int = 10,
    validation: bool = True,
    training: Mapping[str, object] | None = None,
    checkpoint: Mapping[str, object] | None = None,
    shuffle: Mapping[str, object] | None = None,
) -> JobPlan:
    """A plan whose data need not exist; four steps an epoch unless told otherwise."""
    sources: dict[str, object] = {"train": {"type": "parquet", "paths": "train"}}
    if shuffle is not None:
        sources["shuffle"] = shuffle
    if validation:
        sources["validation"] = {"type": "parquet", "paths": "validation"}
    spec = JobSpec.model_validate(
        {
            "name": "job",
            "dataset": sources,
            "training": {
                "task": "tests.support.training:ConvTask",
                "global_batch_size": batch,
                "epochs": 2,
                **(training or {}),
            },
            "checkpoint": {"every": "1000 steps", **(checkpoint or {})},
            "runtime": {"working_dir": str(folder)},
        }
    )
    index = _index(rows)
    return build_plan(
        spec,
        train=index,
        validation=index if validation else None,
        transform_hashes={},
        capacity=ClusterCapacity(cpus=64, gpus=0, cores=64, embedded=False),
    )


def _index(rows: int) -> DatasetIndex:
    return DatasetIndex(
        fragments=(Fragment(path="part-0.parquet", row_group=0, rows=rows, bytes=rows * 8),),
        columns=(Column(name="id", dtype="int64", has_nulls=False),),
    )
