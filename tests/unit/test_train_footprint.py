"""The size of a checkpoint is known before the first step."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer

from orchestrator.train.footprint import state_bytes


@pytest.mark.parametrize(
    ("make", "tolerance"),
    [
        (lambda weights: AdamW(weights, lr=0.1), 0.02),
        (lambda weights: Adam(weights, lr=0.1, amsgrad=True), 0.02),
        (lambda weights: SGD(weights, lr=0.1, momentum=0.9), 0.02),
        (lambda weights: SGD(weights, lr=0.1), 0.02),
        # Of another kind nothing is known: the weights alone count.
        (lambda weights: Adagrad(weights, lr=0.1), 0.51),
    ],
    ids=["adamw", "amsgrad", "momentum", "sgd", "adagrad"],
)
def test_the_estimate_is_that_of_the_file_after_a_step_and_never_above(
    make: Callable[[Iterable[nn.Parameter]], Optimizer], tolerance: float, tmp_path: Path
) -> None:
    model = nn.Sequential(nn.Linear(200, 300), nn.BatchNorm1d(300), nn.Linear(300, 100))
    model[0].bias.requires_grad = False
    optimizer = make(model.parameters())
    estimate = state_bytes(model, optimizer)
    model(torch.randn(4, 200)).sum().backward()
    optimizer.step()
    file = tmp_path / "state.pt"
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    size = file.stat().st_size
    assert size * (1 - tolerance) <= estimate <= size
