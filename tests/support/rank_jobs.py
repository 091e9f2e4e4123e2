"""What the ranks of a process group do in tests: functions that another process can import."""

import os
from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from orchestrator.data.feed import LocalBatch
from orchestrator.plan.geometry import StreamGeometry
from orchestrator.plan.job import JobPlan
from orchestrator.train.evaluation import Evaluator, Summarise
from orchestrator.train.passes import ValidationPasses
from orchestrator.train.pulse import collectives_begun
from orchestrator.train.stepper import world
from orchestrator.train.strategy import DdpStrategy
from orchestrator.train.user_task import GuardedTask
from tests.support.books import run_own_loop
from tests.support.loops import train_images
from tests.support.training import (
    CPU,
    ConvTask,
    digest,
    make_state,
    make_stepper,
    optimizer_of,
    share,
    strategy_of,
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
    """Trains as a worker does: load, step; the weights, and what went by on the way.

    Args:
        every: steps between two validations, 0 for none.
        save: the step after which the first rank writes its state, and where to.
    """
    state = make_state(task)
    stepper = make_stepper(task, state, micro_batch_size=micro, clip_norm=clip)
    rank, _ = world()
    if start_from is not None:
        state.read(start_from)
    means, scores = [], []
    while state.step < until:
        train_steps(stepper, state, cuts, until=state.step + 1)
        assert state.interval is not None
        means.append(state.interval.means())
        if every and state.step % every == 0:
            scores.append(score(task, strategy_of(state), cuts, passes=1)[0])
        if save is not None and state.step == save[0] and rank == 0:
            state.write(save[1])
    optimizer = optimizer_of(state).optimizer.state_dict()["state"]
    return {
        # As arrays: a tensor would travel as shared memory, which ends with its process.
        "weights": {name: value.numpy() for name, value in strategy_of(state).state().items()},
        "digest": digest(strategy_of(state).state()) + digest(optimizer),
        "means": means,
        "scores": scores,
        "rows": state.rows,
    }


def score(
    task: ConvTask,
    strategy: DdpStrategy,
    cuts: StreamGeometry,
    *,
    passes: int,
    summarise: Summarise | None = None,
) -> list[dict[str, float]]:
    """The means and the rows of one validation after another."""
    rank, workers = world()

    def batches() -> Iterator[LocalBatch]:
        for number in range(passes * cuts.steps_per_epoch):
            yield share(cuts, number, rank=rank, workers=workers)

    evaluator = Evaluator(
        task,
        strategy,
        ValidationPasses(batches(), steps=cuts.steps_per_epoch),
        device=CPU,
        micro_batch_size=5,
        summarise=summarise,
    )
    # Scoring a batch for nothing must leave the passes as they are.
    assert ("loss" in (evaluator.rehearse() or ())) == (summarise is None)
    found = []
    for _ in range(passes):
        scores = evaluator.evaluate()
        found.append({**scores.metrics, "rows": scores.rows})
    return found


def summarise(cuts: StreamGeometry, passes: int) -> list[dict[str, float]]:
    """The validations of a task with a summary of its own, as a guarded one."""
    task = GuardedTask(Summarising(), name="pkg:Task", root=Path("/"))
    strategy = strategy_of(make_state(ConvTask()))
    return score(task, strategy, cuts, passes=passes, summarise=task.summarise)


class Summarising(ConvTask):
    """Values that any cut of the batches gives the same; a summary that shows each bit."""

    def evaluate(self, model: nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        row = batch["id"]
        return {"value": (row.double() * 0.1).sin(), "row": row, "even": row % 2 == 0}

    def summarise(self, values: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        row, value, even = values["row"], values["value"], values["even"]
        assert (row.dtype, even.dtype) == (torch.int64, torch.bool)
        assert row.tolist() == list(range(len(row)))
        return {
            # No mean of rows: each depends on the one before.
            "turns": (value.diff().sign().diff() != 0).sum(),
            "folded": reduce(lambda total, item: total * 0.9 + item, value.tolist()),
            "even": even.double().mean().numpy(),
        }


def evaluate(task: ConvTask, cuts: StreamGeometry, passes: int) -> list[dict[str, float]]:
    """The validations of a fresh model."""
    return score(task, strategy_of(make_state(task)), cuts, passes=passes)


def settle() -> dict[str, Any]:
    """What settling the exchange of gradients leaves of a model with running means."""
    model = nn.ModuleList(
        [
            ConvTask(norm=True, dropout=0.5).build_model(),
            # Its gradients come in a form of their own.
            nn.Embedding(5, 3, sparse=True),
        ]
    )
    calls: list[str] = []
    model.register_forward_pre_hook(lambda *_: calls.append("forward"))
    before = digest(model.state_dict())
    strategy = DdpStrategy(model, CPU)
    return {
        "unchanged": digest(strategy.state()) == before,
        "gradients": sum(w.grad is not None for w in model.parameters()),
        "calls": calls,
    }


def share_buffers() -> list[float]:
    """Every rank's running mean, where each had its own."""
    model = nn.BatchNorm1d(3)
    strategy = DdpStrategy(model, CPU)
    assert model.running_mean is not None
    model.running_mean.fill_(float(world()[0]) + 5.0)
    with strategy.evaluating():
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


def own_loop(
    plan: JobPlan,
    *,
    begin_at: int = 0,
    attempt: int = 1,
    **arguments: object,
) -> dict[str, Any]:
    """Trains with a loop of its own."""
    state = run_own_loop(train_images, plan, begin_at=begin_at, attempt=attempt, **arguments)
    parts = {name: part.state() for name, part in state.parts.items()}
    return {
        "weights": {name: value.numpy() for name, value in parts["model"].items()},
        "digest": digest({**parts, "optimizer": parts["optimizer"]["state"]}),
    }


def count_collectives() -> tuple[int, int]:
    """What this rank has begun before and after one more collective, which nobody waits for yet."""
    before = collectives_begun()
    work = dist.all_reduce(torch.ones(1), async_op=True)
    begun = collectives_begun()
    work.wait()
    return before, begun
