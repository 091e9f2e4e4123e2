"""What the ranks of a process group do in tests: functions that another process can import."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from orchestrator.data.feed import LocalBatch
from orchestrator.plan.geometry import StreamGeometry
from orchestrator.train.evaluation import Evaluator
from orchestrator.train.stepper import seed_everything, world
from orchestrator.train.strategy import DdpStrategy
from tests.support.training import (
    CPU,
    SEED,
    ConvTask,
    digest,
    make_state,
    make_stepper,
    share,
    train_steps,
)


def train(
    task: ConvTask,
    cuts: StreamGeometry,
    until: int,
    *,
    micro: int | None = None,
    clip: float | None = None,
    every: int = 0,
    start_from: Path | None = None,
    save: tuple[int, Path] | None = None,
) -> dict[str, Any]:
    """Trains as a worker does: settle, load, step; the weights, and what went by on the way.

    Args:
        every: steps between two validations, 0 for none.
        save: the step after which the first rank writes its state, and where to.
    """
    state = make_state(task)
    stepper = make_stepper(task, state, micro_batch_size=micro, clip_norm=clip)
    rank, workers = world()
    seed_everything(SEED, 0, 0)
    first = share(cuts, 0, rank=rank, workers=workers)
    state.strategy.settle(lambda: stepper.forward_backward(first))
    if start_from is not None:
        state.read(start_from)
    means, scores = [], []
    while state.step < until:
        train_steps(stepper, state, cuts, until=state.step + 1)
        assert state.interval is not None
        means.append(state.interval.means())
        if every and state.step % every == 0:
            scores.append(score(task, state.strategy, cuts, passes=1)[0])
        if save is not None and state.step == save[0] and rank == 0:
            state.write(save[1])
    optimizer = state.optimizer.optimizer.state_dict()["state"]
    return {
        # As arrays: a tensor would travel as shared memory, which ends with its process.
        "weights": {name: value.numpy() for name, value in state.strategy.state().items()},
        "digest": digest(state.strategy.state()) + digest(optimizer),
        "means": means,
        "scores": scores,
        "rows": state.rows,
    }


def score(
    task: ConvTask, strategy: DdpStrategy, cuts: StreamGeometry, *, passes: int
) -> list[dict[str, float]]:
    """The means and the rows of one validation after another."""
    rank, workers = world()

    def batches() -> Iterator[LocalBatch]:
        for number in range(passes * cuts.steps_per_epoch):
            yield share(cuts, number, rank=rank, workers=workers)

    steps = cuts.steps_per_epoch
    evaluator = Evaluator(task, strategy, batches(), steps=steps, device=CPU, micro_batch_size=5)
    # Scoring a batch for nothing must leave the passes as they are.
    assert "loss" in evaluator.rehearse()
    found = []
    for _ in range(passes):
        totals = evaluator.evaluate()
        found.append({**totals.means(), "rows": totals.rows})
    return found


def evaluate(task: ConvTask, cuts: StreamGeometry, passes: int) -> list[dict[str, float]]:
    """The validations of a fresh model."""
    return score(task, make_state(task).strategy, cuts, passes=passes)


def settle(cuts: StreamGeometry) -> dict[str, Any]:
    """What throwing passes away does to a model with running means."""
    task = ConvTask(norm=True, dropout=0.5)
    state = make_state(task)
    stepper = make_stepper(task, state)
    rank, workers = world()
    passes = []

    def one_pass() -> None:
        stepper.forward_backward(share(cuts, 0, rank=rank, workers=workers))
        passes.append(digest(dict(state.strategy.model.named_buffers())))

    before = digest(state.strategy.state())
    state.strategy.settle(one_pass)
    return {
        "before": before,
        "during": passes,
        "after": digest(state.strategy.state()),
        "gradients": sum(w.grad is not None for w in state.strategy.model.parameters()),
    }


def share_buffers() -> list[float]:
    """Every rank's running mean, where each had its own."""
    model = nn.BatchNorm1d(3)
    strategy = DdpStrategy(model, CPU)
    assert model.running_mean is not None
    model.running_mean.fill_(float(world()[0]) + 5.0)
    strategy.share_buffers()
    return model.running_mean.tolist()


def lose_a_rank() -> None:
    """The last rank dies while the others wait for it."""
    rank, workers = world()
    tensor = torch.ones(4)
    dist.all_reduce(tensor)
    if rank == workers - 1:
        os._exit(9)
    while True:
        dist.all_reduce(tensor)
