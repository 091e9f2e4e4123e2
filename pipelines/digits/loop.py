"""The same network, trained by a loop of its own instead of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from pipelines.digits.task import DigitsTask

if TYPE_CHECKING:
    from orchestrator import TrainContext


def train(context: TrainContext, width: int = 16, lr: float = 5e-3) -> None:
    """Train from wherever the run stands to its last step.

    Args:
        width: channels of the first convolution.
        lr: learning rate of the first step; it falls to 0 along a cosine.
    """
    model = context.prepare(DigitsTask(width).build_model())
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=context.total_steps)
    # A checkpoint keeps these three; where the run is resumed, they are loaded here.
    context.restore(model=model, optimizer=optimizer, schedule=schedule)
    for batch in context.batches():
        model.train()
        optimizer.zero_grad()
        losses = functional.cross_entropy(model(batch["image"]), batch["label"], reduction="none")
        # The mean over the whole global batch, of which this worker has its share.
        batch.mean(losses).backward()
        optimizer.step()
        schedule.step()
        context.step_done(losses)
        if context.validation_due:
            context.report(**validate(context, model))


def validate(context: TrainContext, model: torch.nn.Module) -> dict[str, float]:
    """Loss and accuracy over all validation rows, those of the other workers included."""
    model.eval()
    scores = context.validation()
    with torch.no_grad():
        for batch in scores:
            guesses, labels = model(batch["image"]), batch["label"]
            scores.add(
                loss=functional.cross_entropy(guesses, labels, reduction="none"),
                accuracy=(guesses.argmax(dim=1) == labels).float(),
            )
    return scores.means()
