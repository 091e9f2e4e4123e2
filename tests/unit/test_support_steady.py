"""The job of the soak: its numbers do not depend on how a batch is shared out."""

from pathlib import Path

import numpy as np
import pytest
import torch

from orchestrator.spec.training import AdamW
from tests.support.steady import BATCH, SteadyTask, set_pace
from tests.support.task import FEATURES


def train(folder: Path, *, workers: int, left_out: bool = False) -> tuple[list[float], bytes]:
    """Losses and final weights of a few steps, with the gradients of the workers added up."""
    torch.manual_seed(0)
    task = SteadyTask(str(folder / "pace"))
    model = task.build_model()
    optimizer = task.build_optimizer(model, AdamW())
    rng, losses = np.random.default_rng(0), []
    for step in range(50):
        x = torch.tensor(rng.normal(size=(BATCH, FEATURES)).astype(np.float32))
        label, total = (x[:, 0] > 0).long(), 0.0
        optimizer.zero_grad()
        for rows in np.array_split(np.arange(BATCH), workers):
            if left_out and step == 20:
                rows = rows[1:]
            of_rows, _ = task.loss(model, {"x": x[rows], "label": label[rows]})
            # As DDP and we weigh them: times the ranks, and divided by them.
            (of_rows.sum() * (workers / BATCH) / workers).backward()
            total += of_rows.detach().sum().item()
        optimizer.step()
        losses.append(total / BATCH)
    return losses, b"".join(weight.detach().numpy().tobytes() for weight in model.parameters())


@pytest.mark.parametrize("workers", [2, 3, 5, BATCH])
def test_any_number_of_workers_gives_the_same_bits(tmp_path: Path, workers: int) -> None:
    set_pace(tmp_path, 0.0)
    assert train(tmp_path, workers=workers) == train(tmp_path, workers=1)


def test_a_single_row_that_is_left_out_shows(tmp_path: Path) -> None:
    set_pace(tmp_path, 0.0)
    losses, weights = train(tmp_path, workers=1, left_out=True)
    right_losses, right_weights = train(tmp_path, workers=1)
    assert losses[:20] == right_losses[:20]
    assert all(left != right for left, right in zip(losses[20:], right_losses[20:], strict=True))
    assert weights != right_weights
