"""The parts of a run's state: what a checkpoint keeps of a model, an optimizer, or anything."""

import io
import pickle
from typing import Any, Protocol

import torch
from torch import Tensor, nn

PartState = dict[str, Any]


class Part(Protocol):
    """Something that a restart must bring back."""

    def state(self) -> PartState:
        """Its state as it stands, not copied; the first rank calls it to save."""

    def load(self, state: PartState) -> None:
        """Sets its state; every rank calls it, before the first step.

        Raises:
            RuntimeError, ValueError, KeyError: it is the state of something else.
        """

    def spoilt(self) -> str | None:
        """The name of a weight that has become infinite or not a number, if there is one."""


class Stateful(Protocol):
    """An object that gives its state away and takes it back, as much of torch does."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object: ...


class ModelPart:
    """The weights and buffers of a model."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def state(self) -> PartState:
        """The weights and buffers, and what else the model keeps."""
        return dict(self.model.state_dict())

    def load(self, state: PartState) -> None:
        self.model.load_state_dict(state)

    def spoilt(self) -> str | None:
        """Buffers are not looked at: an infinity in one may well be meant."""
        for name, weight in self.model.named_parameters():
            if weight.requires_grad and not is_finite(weight.detach()):
                return name
        return None


class ObjectPart:
    """Whatever has `state_dict` and `load_state_dict`: an optimizer, a schedule, a counter."""

    def __init__(self, content: Stateful) -> None:
        self.content = content

    def state(self) -> PartState:
        return self.content.state_dict()

    def load(self, state: PartState) -> None:
        self.content.load_state_dict(state)

    def spoilt(self) -> str | None:
        return None


def is_finite(weight: Tensor) -> bool:
    """Whether all numbers are finite.

    A sum is many times faster than a look at each: what is not finite does not leave it again. Only
    where the sum itself is too large does that not say enough.
    """
    return bool(weight.sum().isfinite()) or bool(weight.isfinite().all())


def unsaveable(state: PartState) -> str | None:
    """Why a state could be written but not be read again, None where it can.

    A checkpoint is data and must not be able to run code, so that it holds tensors, numbers, text
    and lists or dicts of them.
    """
    buffer = io.BytesIO()
    try:
        torch.save(state, buffer)
        buffer.seek(0)
        torch.load(buffer, weights_only=True)
    except (pickle.PicklingError, pickle.UnpicklingError, TypeError, AttributeError) as error:
        (first, *_) = str(error).splitlines() or [""]
        return first
    return None
