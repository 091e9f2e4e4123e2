"""The learning rate is a function of the step; the optimizer is what the spec says."""

import math

import pytest
import torch
from torch import nn

from orchestrator.spec.training import AdamW, Constant, Cosine, Linear, Sgd
from orchestrator.train.optimizer import (
    ScheduledOptimizer,
    default_optimizer,
    learning_rate_factor,
)

HALF_COSINE = [0.5 + 0.5 * math.cos(math.pi * part / 4) for part in range(5)]


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        pytest.param(Constant(), [1, 1, 1, 1, 1], id="constant"),
        pytest.param(Constant(warmup_steps=3), [0.25, 0.5, 0.75, 1, 1], id="constant, warm-up"),
        pytest.param(Linear(), [1, 0.75, 0.5, 0.25, 0], id="linear"),
        pytest.param(
            Linear(warmup_steps=1, final_fraction=0.1), [0.5, 1, 0.7, 0.4, 0.1], id="linear, both"
        ),
        pytest.param(Linear(final_fraction=1.0), [1, 1, 1, 1, 1], id="linear, to the peak itself"),
        pytest.param(Cosine(), HALF_COSINE, id="cosine"),
        pytest.param(
            Cosine(warmup_steps=2, final_fraction=0.2),
            [1 / 3, 2 / 3, 1, 0.6, 0.2],
            id="cosine, both",
        ),
        pytest.param(Cosine(warmup_steps=4), [0.2, 0.4, 0.6, 0.8, 1], id="warm-up to the end"),
        pytest.param(
            Linear(warmup_steps=9), [0.1, 0.2, 0.3, 0.4, 0.5], id="warm-up longer than the run"
        ),
    ],
)
def test_the_learning_rate_follows_the_schedule(
    schedule: Constant | Linear | Cosine, factors: list[float]
) -> None:
    got = [learning_rate_factor(schedule, step=step, total_steps=5) for step in range(5)]
    assert got == pytest.approx(factors)


@pytest.mark.parametrize("schedule", [Constant(), Linear(), Cosine()])
def test_a_run_of_one_step_has_the_peak(schedule: Constant | Linear | Cosine) -> None:
    assert learning_rate_factor(schedule, step=0, total_steps=1) == 1.0


@pytest.mark.parametrize("schedule", [Linear(final_fraction=0.3), Cosine(final_fraction=0.3)])
def test_past_the_end_the_rate_stays_at_its_last_value(schedule: Linear | Cosine) -> None:
    assert learning_rate_factor(schedule, step=50, total_steps=5) == pytest.approx(0.3)


def test_adamw_gets_everything_the_spec_says() -> None:
    spec = AdamW(lr=0.3, weight_decay=0.2, betas=(0.5, 0.6), eps=1e-3)
    optimizer = default_optimizer(nn.Linear(2, 2), spec)
    assert type(optimizer) is torch.optim.AdamW
    (group,) = optimizer.param_groups
    assert {name: group[name] for name in ("lr", "weight_decay", "betas", "eps")} == {
        "lr": 0.3,
        "weight_decay": 0.2,
        "betas": (0.5, 0.6),
        "eps": 1e-3,
    }


def test_sgd_gets_everything_the_spec_says() -> None:
    spec = Sgd(lr=0.3, momentum=0.8, nesterov=True, weight_decay=0.1)
    optimizer = default_optimizer(nn.Linear(2, 2), spec)
    assert type(optimizer) is torch.optim.SGD
    (group,) = optimizer.param_groups
    assert {name: group[name] for name in ("lr", "momentum", "nesterov", "weight_decay")} == {
        "lr": 0.3,
        "momentum": 0.8,
        "nesterov": True,
        "weight_decay": 0.1,
    }


def test_frozen_parameters_are_left_to_themselves() -> None:
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    (group,) = default_optimizer(model, Sgd(lr=0.1)).param_groups
    assert group["params"] == [model.weight]


def test_a_step_uses_its_own_rate_in_every_group() -> None:
    slow, fast = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": [slow], "lr": 1.0}, {"params": [fast], "lr": 10.0}])
    scheduled = ScheduledOptimizer(optimizer, Linear(), total_steps=5)
    for parameter in (slow, fast):
        parameter.grad = torch.ones(1)
    scheduled.step(1)
    assert (slow.item(), fast.item()) == (-0.75, -7.5)
    assert scheduled.learning_rate(1) == 0.75


def scheduled(model: nn.Module, spec: AdamW | Sgd) -> ScheduledOptimizer:
    return ScheduledOptimizer(default_optimizer(model, spec), Linear(), total_steps=5)


def test_a_loaded_state_does_not_change_the_peaks() -> None:
    model = nn.Linear(2, 2)
    old = scheduled(model, Sgd(lr=1.0))
    old.step(3)  # leaves the scheduled rate of a quarter in the state
    new = scheduled(model, Sgd(lr=2.0))
    new.load(old.optimizer.state_dict())
    assert [new.learning_rate(step) for step in range(5)] == [2.0, 1.5, 1.0, 0.5, 0.0]
    new.step(2)
    assert new.optimizer.param_groups[0]["lr"] == 1.0


@pytest.mark.parametrize(
    ("old", "new"), [(Sgd(lr=1.0), AdamW()), (AdamW(), Sgd(lr=1.0))], ids=["sgd", "adamw"]
)
def test_the_state_of_another_kind_of_optimizer_is_refused(
    old: AdamW | Sgd, new: AdamW | Sgd
) -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="its optimizer has no"):
        scheduled(model, new).load(scheduled(model, old).optimizer.state_dict())


def test_settings_that_were_changed_are_those_of_the_spec_after_a_load() -> None:
    model = nn.Linear(2, 2)
    old = scheduled(model, AdamW(weight_decay=0.01, betas=(0.9, 0.999)))
    new = scheduled(model, AdamW(weight_decay=0.3, betas=(0.5, 0.6)))
    new.load(old.optimizer.state_dict())
    (group,) = new.optimizer.param_groups
    assert (group["weight_decay"], group["betas"]) == (0.3, (0.5, 0.6))
