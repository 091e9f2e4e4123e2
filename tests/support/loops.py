"""Loops of their own, as users write them."""

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from orchestrator import TrainContext
from tests.support.training import ConvTask


def train_images(
    context: TrainContext,
    *,
    width: int = 8,
    dropout: float = 0.0,
    norm: bool = False,
    pieces: int = 1,
    spoil: Sequence[int] = (),
    save_after: Sequence[int] = (),
) -> None:
    """The images of the unit tests: momentum, a schedule, an average of the weights.

    Args:
        pieces: backward passes a step.
        spoil: rows whose loss is not a number.
        save_after: steps that it saves itself.
    """
    model = ConvTask(width=width, dropout=dropout, norm=norm).build_model()
    average = torch.optim.swa_utils.AveragedModel(model)
    trained = context.prepare(model)
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
    context.restore(model=trained, optimizer=optimizer, schedule=schedule, average=average)
    for batch in context.batches():
        trained.train()
        optimizer.zero_grad()
        size = -(-batch.size // pieces)
        *earlier, last = zip(*(batch[name].split(size) for name in ("x", "y", "id")), strict=True)
        for piece in earlier:
            with context.accumulating(trained):
                batch.mean(image_losses(trained, *piece, spoil)).backward()
        batch.mean(image_losses(trained, *last, spoil)).backward()
        optimizer.step()
        context.step_done(id=batch["id"])
        # What follows step_done() still belongs to the step.
        schedule.step()
        average.update_parameters(model)
        if context.step in save_after:
            context.save()
        if context.validation_due:
            validate(context, trained)


def image_losses(
    model: nn.Module, x: Tensor, y: Tensor, row: Tensor, spoil: Sequence[int]
) -> Tensor:
    losses = functional.cross_entropy(model(x), y, reduction="none")
    spoilt = torch.isin(row, torch.tensor(spoil, dtype=row.dtype))
    return losses.masked_fill(spoilt, torch.nan)


def validate(context: TrainContext, model: nn.Module) -> None:
    """One pass; the means over all rows of all workers."""
    model.eval()
    scores = context.validation()
    with torch.no_grad():
        for batch in scores:
            losses = functional.cross_entropy(model(batch["x"]), batch["y"], reduction="none")
            scores.add(loss=losses, id=batch["id"])
    context.report(**scores.means())


def train(context: TrainContext, *, dropout: float = 0.1, step_s: float = 0.0) -> None:
    """The rows of the tests with Ray: the same network as that of SmallTask."""
    model = context.prepare(
        nn.Sequential(
            nn.Linear(8, 64),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(64, 64),
            nn.ReLU(),
            nn.Linear(64, 4),
        )
    )
    optimizer = torch.optim.AdamW(model.parameters())
    context.restore(model=model, optimizer=optimizer)
    for batch in context.batches():
        time.sleep(step_s)
        model.train()
        optimizer.zero_grad()
        losses = functional.cross_entropy(model(batch["x"]), batch["label"], reduction="none")
        batch.mean(losses).backward()
        optimizer.step()
        context.step_done(losses)
        if context.validation_due:
            model.eval()
            scores = context.validation()
            with torch.no_grad():
                for part in scores:
                    right = model(part["x"]).argmax(dim=1) == part["label"]
                    scores.add(accuracy=right.float())
            context.report(**scores.means())
