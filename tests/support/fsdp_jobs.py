"""What the ranks of a process group do in tests of a sharded model."""

from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

from orchestrator.checkpoint.behind import SaveBehind
from orchestrator.plan.geometry import StreamGeometry
from orchestrator.spec.training import AdamW, Constant, Sgd
from orchestrator.train.fsdp import FsdpStrategy, ShardedOptimizer
from orchestrator.train.host_memory import HostMemory
from orchestrator.train.optimizer import ScheduledOptimizer
from orchestrator.train.parts import PartState
from orchestrator.train.shard_reader import flat
from orchestrator.train.shards import Shards
from orchestrator.train.state import TrainState
from orchestrator.train.stepper import Stepper, world
from tests.support.rank_jobs import score
from tests.support.training import CPU, SEED, ConvTask, digest, train_steps


def make_sharded(
    task: ConvTask, *, several_passes: bool, spec: AdamW | Sgd | None = None
) -> TrainState:
    """A fresh state, of which each rank has its pieces."""
    if not dist.is_initialized():
        # One rank; Ray makes a group of one, too.
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    torch.manual_seed(SEED)
    strategy = FsdpStrategy(task.build_model(), CPU, several_passes=several_passes)
    optimizer = task.build_optimizer(strategy.model, spec or AdamW(lr=0.01))
    scheduled = ScheduledOptimizer(optimizer, Constant(), total_steps=100)
    return TrainState(
        device=CPU,
        parts={"model": strategy, "optimizer": ShardedOptimizer(scheduled, strategy.model)},
        shards=Shards(),
    )


def train_sharded(
    task: ConvTask,
    cuts: StreamGeometry,
    until: int,
    *,
    micro: int | None = None,
    clip: float | None = None,
    spec: AdamW | Sgd | None = None,
    every: int = 0,
    start_from: Path | None = None,
    save: tuple[int, Path] | None = None,
) -> dict[str, Any]:
    """Trains as `rank_jobs.train` does; a save goes on while the steps that follow are trained."""
    state = make_sharded(task, several_passes=micro is not None, spec=spec)
    strategy = cast("FsdpStrategy", state.parts["model"])
    optimizer = cast("ShardedOptimizer", state.parts["optimizer"])
    stepper = Stepper(task, strategy, optimizer, device=CPU, micro_batch_size=micro, clip_norm=clip)
    if start_from is not None:
        state.read(start_from)
    behind, means, scores = SaveBehind(), [], []
    while state.step < until:
        train_steps(stepper, state, cuts, until=state.step + 1)
        assert state.interval is not None
        means.append(state.interval.means())
        if every and state.step % every == 0:
            scores.append(score(task, strategy, cuts, passes=1)[0])
        if save is not None and state.step == save[0]:
            begin_save(state, save[1], behind)
    behind.wait()
    parts = {name: part.state() for name, part in state.parts.items()}
    return {
        "digest": digest({name: local(value) for name, value in flat(parts).items()}),
        "weights": {name: whole(value) for name, value in parts["model"].items()},
        "largest_share": largest_share(parts["model"]),
        "means": means,
        "scores": scores,
        "rows": state.rows,
    }


def begin_save(state: TrainState, directory: Path, behind: SaveBehind) -> None:
    """Begins to save behind the training, as the first rank and those that follow it do."""
    assert state.spoilt() is None
    snapshot = state.snapshot(HostMemory())
    rank, _ = world()
    behind.start(partial(snapshot.write, directory) if rank == 0 else snapshot.follow)


def read_only(task: ConvTask, directory: Path) -> str:
    """Reads a checkpoint; the error's text, empty where there was none."""
    state = make_sharded(task, several_passes=False)
    try:
        state.read(directory)
    except Exception as error:  # noqa: BLE001  # the test looks at what it was
        return f"{type(error).__name__}: {error}"
    return ""


def fail_to_write(task: ConvTask, directory: Path) -> str:
    """Saves to where one cannot write; what each rank is told."""
    state = make_sharded(task, several_passes=False)
    behind = SaveBehind()
    begin_save(state, directory, behind)
    try:
        behind.wait()
    except Exception as error:  # noqa: BLE001  # the test looks at what it was
        return f"{type(error).__name__}: {error}"
    return ""


def abandon(task: ConvTask) -> bool:
    """The first rank does not come to write; whether this rank goes on."""
    state = make_sharded(task, several_passes=False)
    snapshot = state.snapshot(HostMemory())
    behind = SaveBehind()
    behind.start(snapshot.close if world()[0] == 0 else snapshot.follow)
    behind.wait()
    return True


def spoil_one_piece(task: ConvTask) -> str | None:
    """What every rank says of a weight that only the last one's piece of is spoilt."""
    state = make_sharded(task, several_passes=False)
    model = cast("FsdpStrategy", state.parts["model"]).model
    rank, workers = world()
    if rank == workers - 1:
        with torch.no_grad():
            cast("DTensor", next(iter(model.parameters()))).to_local().fill_(float("inf"))
    return state.spoilt()


def largest_share(weights: PartState) -> float:
    """This rank's share of the numbers of all weights."""
    sharded = [value for value in weights.values() if isinstance(value, DTensor)]
    return sum(v.to_local().numel() for v in sharded) / sum(v.numel() for v in sharded)


def local(value: object) -> object:
    """This rank's piece."""
    return value.to_local() if isinstance(value, DTensor) else value


def whole(value: object) -> Any:
    """The tensor with all its pieces, as an array; every rank calls it."""
    tensor = value.full_tensor() if isinstance(value, DTensor) else cast("torch.Tensor", value)
    return tensor.detach().numpy()


def train_tied(directory: Path) -> list[float]:
    """The sum of a weight that two blocks share after each of two steps, and as it is read."""
    sums = []
    for begins_with in (None, directory):
        torch.manual_seed(SEED)
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
        model[2].weight = model[0].weight
        strategy = FsdpStrategy(model, CPU, several_passes=False)
        adam = torch.optim.AdamW(model.parameters(), lr=0.1)
        scheduled = ScheduledOptimizer(adam, Constant(), total_steps=2)
        optimizer = ShardedOptimizer(scheduled, model)
        parts = {"model": strategy, "optimizer": optimizer}
        state = TrainState(device=CPU, parts=parts, shards=Shards())
        if begins_with is not None:
            state.read(begins_with)
        for step in range(state.step, 2):
            model(torch.ones(2, 4)).sum().backward()
            optimizer.step(step)
            model.zero_grad()
            assert model[2].weight is model[0].weight
            sums.append(float(cast("DTensor", model[0].weight).full_tensor().sum()))
            if step == 0:
                state.step, behind = 1, SaveBehind()
                begin_save(state, directory, behind)
                behind.wait()
    return sums
