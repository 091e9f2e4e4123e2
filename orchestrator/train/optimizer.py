"""The spec's optimizer, and its learning rate as a pure function of the step."""

import math
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from orchestrator.spec.training import AdamW, Constant, Cosine, Linear, Sgd
from orchestrator.train.parts import PartState


def default_optimizer(model: nn.Module, spec: AdamW | Sgd) -> Optimizer:
    """The optimizer of the spec over all parameters that want gradients."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    match spec:
        case AdamW():
            return torch.optim.AdamW(
                parameters,
                lr=spec.lr,
                betas=spec.betas,
                eps=spec.eps,
                weight_decay=spec.weight_decay,
            )
        case Sgd():
            return torch.optim.SGD(
                parameters,
                lr=spec.lr,
                momentum=spec.momentum,
                nesterov=spec.nesterov,
                weight_decay=spec.weight_decay,
            )
        case _:
            assert_never(spec)


def learning_rate_factor(
    schedule: Constant | Linear | Cosine, *, step: int, total_steps: int
) -> float:
    """What the peak learning rate is multiplied by in a step, counted from 0.

    The warm-up rises linearly and reaches the peak in step `warmup_steps`; the fall that follows
    reaches `final_fraction` in the last step.
    """
    warmup = schedule.warmup_steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = min(1.0, (step - warmup) / max(1, total_steps - 1 - warmup))
    match schedule:
        case Constant():
            return 1.0
        case Linear():
            return 1.0 - (1.0 - schedule.final_fraction) * progress
        case Cosine():
            share = 0.5 * (1.0 + math.cos(math.pi * progress))
            return schedule.final_fraction + (1.0 - schedule.final_fraction) * share
        case _:
            assert_never(schedule)


class ScheduledOptimizer:
    """An optimizer whose learning rate follows the schedule: the step is all of its state."""

    def __init__(
        self, optimizer: Optimizer, schedule: Constant | Linear | Cosine, *, total_steps: int
    ) -> None:
        self.optimizer = optimizer
        self._schedule = schedule
        self._total_steps = total_steps
        # What the task set is the peak; a loaded state must not replace it by a scheduled value.
        self._peaks = [float(group["lr"]) for group in optimizer.param_groups]

    def step(self, step: int) -> None:
        """Updates the parameters with the learning rate of this step, counted from 0."""
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * self.factor(step)
        self.optimizer.step()

    def state(self) -> PartState:
        """The optimizer's state, as torch gives it."""
        return self.optimizer.state_dict()

    def load(self, state: PartState) -> None:
        """Sets the optimizer's state; its settings stay those of the task and the spec.

        Raises:
            ValueError, KeyError: it is the state of another optimizer.
        """
        for group, stored in zip(self.optimizer.param_groups, state["param_groups"], strict=True):
            # torch would load it, and stumble over what is missing in the first step.
            if missing := sorted(group.keys() - stored.keys()):
                raise ValueError(f"its optimizer has no {', '.join(missing)}")
        settings = [
            {name: value for name, value in group.items() if name != "params"}
            for group in self.optimizer.param_groups
        ]
        self.optimizer.load_state_dict(state)
        # torch takes the stored settings along; a spec that was changed would be silently ignored.
        for group, kept in zip(self.optimizer.param_groups, settings, strict=True):
            group.update(kept)

    def spoilt(self) -> str | None:
        """Nothing: the weights are the model's."""
        return None

    def parameters(self) -> list[Tensor]:
        """The parameters that it updates."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def learning_rate(self, step: int) -> float:
        """The learning rate of the first parameter group in a step, counted from 0."""
        return self._peaks[0] * self.factor(step)

    def factor(self, step: int) -> float:
        """What the peak learning rates are multiplied by in a step, counted from 0."""
        return learning_rate_factor(self._schedule, step=step, total_steps=self._total_steps)
