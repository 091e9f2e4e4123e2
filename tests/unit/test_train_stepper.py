"""A step's gradient is that of the mean over the global batch, however it is cut."""

import random
from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from orchestrator.data.feed import LocalBatch
from orchestrator.errors import JobFailedError
from orchestrator.plan.origins import Origins
from orchestrator.spec.training import AdamW, Sgd
from orchestrator.train.stepper import seed_everything, world
from orchestrator.train.task import LossOutput, TrainTask
from tests.support.training import (
    SEED,
    ConvTask,
    digest,
    geometry,
    image_columns,
    make_state,
    make_stepper,
    share,
    strategy_of,
)

CUTS = geometry(rows=13, batch=13)


def gradients(model: nn.Module) -> list[Tensor]:
    return [weight.grad for weight in model.parameters() if weight.grad is not None]


def of_one_big_batch(task: TrainTask, batch: LocalBatch) -> list[Tensor]:
    """The gradient as anybody would write it."""
    model = strategy_of(make_state(task)).model
    tensors = {name: torch.from_numpy(batch.columns[name]) for name in ("id", "x", "y")}
    losses, _ = task.loss(model, tensors)
    losses.mean().backward()
    return gradients(model)


@pytest.mark.parametrize("size", [None, 1, 2, 5, 12, 13, 14])
def test_micro_batches_of_any_size_give_the_gradient_of_one_big_batch(size: int | None) -> None:
    task = ConvTask()
    state = make_state(task)
    batch = share(CUTS, 0)
    totals = make_stepper(task, state, micro_batch_size=size).forward_backward(batch).totals
    torch.testing.assert_close(gradients(strategy_of(state).model), of_one_big_batch(task, batch))
    assert totals.rows == 13
    assert totals.means()["id"] == 6.0


class ScalarTask(ConvTask):
    """Returns the mean itself, as much code does."""

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        losses, metrics = super().loss(model, batch)
        return losses.mean(), {name: value.double().mean() for name, value in metrics.items()}


@pytest.mark.parametrize("size", [None, 4])
def test_a_scalar_loss_counts_as_the_mean_of_its_rows(size: int | None) -> None:
    state, batch = make_state(ScalarTask()), share(CUTS, 0)
    totals = make_stepper(ScalarTask(), state, micro_batch_size=size).forward_backward(batch).totals
    torch.testing.assert_close(
        gradients(strategy_of(state).model), of_one_big_batch(ConvTask(), batch)
    )
    assert totals.means()["id"] == pytest.approx(6.0)


@pytest.mark.parametrize(("task", "exact"), [(ConvTask(), True), (ScalarTask(), False)])
def test_the_loss_of_each_row_is_kept_in_order(task: TrainTask, exact: bool) -> None:
    batch = share(CUTS, 0)
    state = make_state(task)
    whole = make_stepper(task, state).forward_backward(batch).losses
    cut = make_stepper(task, state, micro_batch_size=5).forward_backward(batch).losses
    assert (cut.exact, len(cut.values), cut.values.requires_grad) == (exact, 13, False)
    if exact:
        torch.testing.assert_close(cut.values, whole.values)


def test_stand_ins_give_no_gradient_and_count_nothing() -> None:
    task = ConvTask()
    state = make_state(task)
    batch = share(geometry(rows=33, batch=32), 1, rank=2, workers=3)
    assert not len(batch.rows)
    totals = make_stepper(task, state).forward_backward(batch).totals
    found = gradients(strategy_of(state).model)
    assert found
    assert all(not gradient.any() for gradient in found)
    assert (totals.rows, totals.means()) == (0, {"id": 0.0, "loss": 0.0})


def test_the_whole_gradient_is_clipped_to_its_norm() -> None:
    task = ConvTask()
    state = make_state(task, spec=Sgd(lr=1.0))
    before = [weight.detach().clone() for weight in strategy_of(state).model.parameters()]
    make_stepper(task, state, clip_norm=0.01, micro_batch_size=5).step(share(CUTS, 0), 0)
    moved = [
        (weight - old).flatten()
        for weight, old in zip(strategy_of(state).model.parameters(), before, strict=True)
    ]
    assert torch.cat(moved).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_a_step_forgets_the_gradient_of_the_one_before() -> None:
    task = ConvTask()
    once, twice = make_state(task, spec=Sgd(lr=1e-9)), make_state(task, spec=Sgd(lr=1e-9))
    make_stepper(task, once).step(share(CUTS, 0), 0)
    stepper = make_stepper(task, twice)
    for number in range(2):
        stepper.step(share(CUTS, 0), number)
    torch.testing.assert_close(
        gradients(strategy_of(twice).model), gradients(strategy_of(once).model)
    )


class Returning(TrainTask):
    """A task whose loss is what a test makes of the scores."""

    def __init__(self, make: Callable[[Tensor], object]) -> None:
        self._make = make

    def build_model(self) -> nn.Module:
        return nn.Linear(1, 1)

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> LossOutput:
        return self._make(model(batch["id"].float().unsqueeze(1)).squeeze(1))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s: s.unsqueeze(1), r"loss has shape \[13, 1\] for 13 rows; wanted one value a row"),
        (lambda s: s[:5], r"loss has shape \[5\] for 13 rows"),
        (lambda s: s.detach(), "does not depend on the model's parameters"),
        (lambda s: float(s.detach().sum()), "loss returned a value of type float; wanted a tensor"),
        (lambda s: (s, s), "loss returned a tuple of Tensor, Tensor; wanted a tensor"),
        (lambda s: {"loss": s}, "loss returned a value of type dict"),
        (lambda s: (s, {"hits": s[:5]}), r"'hits' of shape \[5\] for 13 rows"),
        (lambda s: (s, {"hits": 1.0}), "'hits' of type float; wanted a tensor"),
    ],
)
def test_a_loss_of_another_shape_says_what_is_wanted(
    make: Callable[[Tensor], object], message: str
) -> None:
    task = Returning(make)
    stepper = make_stepper(task, make_state(task))
    with pytest.raises(JobFailedError, match=message):
        stepper.step(share(CUTS, 0), 0)


def test_rows_without_a_number_cannot_be_trained_on() -> None:
    batch = LocalBatch(
        epoch=0,
        step=0,
        lane=0,
        superblock=0,
        offset=0,
        origins=Origins(rows=np.arange(2)),
        global_rows=2,
        columns={"name": image_columns(np.arange(2))["name"]},
    )
    task = ConvTask()
    with pytest.raises(JobFailedError, match="no numeric column"):
        make_stepper(task, make_state(task)).step(batch, 0)


def dropped(seed: int, step: int, lane: int) -> str:
    seed_everything(seed, step, lane)
    kept = nn.functional.dropout(torch.ones(64), 0.5)
    return digest({"torch": kept, "python": random.random(), "numpy": float(np.random.random())})


def test_the_same_seed_step_and_lane_drop_the_same() -> None:
    assert dropped(1, 2, 3) == dropped(1, 2, 3)


def test_any_other_seed_step_or_lane_drops_something_else() -> None:
    places = [(s, t, n) for s in (0, 1, 2**32) for t in (0, 1, 70_000) for n in (0, 1, 31)]
    assert len({dropped(*place) for place in places}) == len(places)


def test_dropout_in_a_step_depends_on_that_step_alone() -> None:
    task = ConvTask(dropout=0.5)

    def loss_of_step(number: int, *, after: int) -> float:
        state = make_state(task, spec=Sgd(lr=1e-12))
        stepper = make_stepper(task, state)
        for earlier in range(after):
            stepper.step(share(CUTS, 0), earlier)
        batch = share(CUTS, 0)
        seed_everything(SEED, number, batch.lane)
        return stepper.step(batch, number).totals.means()["loss"]

    assert loss_of_step(3, after=0) == pytest.approx(loss_of_step(3, after=3), abs=1e-6)
    assert loss_of_step(3, after=0) != pytest.approx(loss_of_step(4, after=0), abs=1e-6)


def test_without_a_process_group_there_is_one_rank() -> None:
    assert world() == (0, 1)


class HeadOnly(ConvTask):
    """Trains the last layer, without freezing the others."""

    def build_optimizer(self, model: nn.Module, spec: AdamW | Sgd) -> Optimizer:
        return torch.optim.SGD(cast("nn.Sequential", model)[-1].parameters(), lr=0.0)


def test_gradients_that_the_optimizer_does_not_use_neither_pile_up_nor_count() -> None:
    task = HeadOnly()
    state = make_state(task)
    stepper = make_stepper(task, state, clip_norm=0.1)
    cuts = geometry(rows=10, batch=10)
    norms = []
    for _ in range(2):
        stepper.step(share(cuts, 0), 0)
        model = cast("nn.Sequential", strategy_of(state).model)
        norms.append(float(model[0].weight.grad.norm()))
        head = [parameter.grad for parameter in model[-1].parameters()]
        assert torch.cat([part.ravel() for part in head]).norm() == pytest.approx(0.1, rel=1e-4)
    assert norms[0] == norms[1]
