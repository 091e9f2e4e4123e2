"""How the ranks share one model: what that takes, and distributed data parallel."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from orchestrator.train.exchange import FlatCopy, GradientExchange
from orchestrator.train.parts import ModelPart, PartState

# DDP lays its gradient buckets out anew after the first pass, which changes the order of additions.
# Throwing two passes away puts that behind, so that a restarted run adds as the first one did.
SETTLING_PASSES = 2


class Strategy(Protocol):
    """A model on all ranks. Each of them makes the same calls, but for the passes of a step."""

    model: nn.Module
    world_size: int

    @property
    def trainable(self) -> nn.Module:
        """The model to call in training."""

    @property
    def can_retry(self) -> bool:
        """Whether a step that failed on one rank can be left by all."""

    def begin_step(self) -> None:
        """Before the passes of a step that may have to be tried again."""

    def end_step(self) -> None:
        """After them, also where they have failed."""

    def undo_step(self) -> None:
        """Throws away what the passes of a step have left."""

    def accumulating(self, *, last: bool) -> AbstractContextManager[None]:
        """Around each forward and backward pass: only the last one of a step averages gradients."""

    def evaluating(self) -> AbstractContextManager[None]:
        """Around the passes of a validation, of which ranks may have more or fewer."""

    def state(self) -> PartState: ...

    def load(self, state: PartState) -> None: ...

    def spoilt(self) -> str | None: ...


class DdpStrategy(ModelPart):
    """The same model on every rank; gradients are averaged during the backward pass.

    Args:
        retries: whether a step that fails on one rank is to be tried again by all. The exchange of
            gradients is then our own, and each step goes through `begin_step` and `end_step`.
    """

    def __init__(self, model: nn.Module, device: torch.device, *, retries: bool = False) -> None:
        super().__init__(model.to(device))
        self.world_size = dist.get_world_size() if dist.is_initialized() else 1
        self._parallel: nn.Module = self.model
        self._exchange: GradientExchange | None = None
        self._buffers: FlatCopy | None = None
        learns = any(weight.requires_grad for weight in model.parameters())
        if self.world_size > 1 and learns and retries and not _sparse_layers(model):
            FlatCopy([*model.parameters(), *model.buffers()]).share()
            self._exchange = GradientExchange(self.model)
        elif self.world_size > 1 and learns:
            ids = [device] if device.type == "cuda" else None
            parallel = DistributedDataParallel(self.model, device_ids=ids)
            _settle(parallel)
            self._parallel = parallel

    @property
    def trainable(self) -> nn.Module:
        """The model to call in training."""
        return self._parallel

    @property
    def can_retry(self) -> bool:
        """Whether a step that failed on one rank can be left by all; not where DDP is at work."""
        return self._parallel is self.model

    def begin_step(self) -> None:
        """Before the passes of a step that may have to be tried again; all ranks call it."""
        if not self.can_retry:
            return
        self._buffers = FlatCopy(self.model.buffers())
        if self._exchange is not None:
            self._buffers.share()
            self._exchange.begin()

    def end_step(self) -> None:
        """After them, also where they have failed: no rank is left in an exchange."""
        if self._exchange is not None:
            self._exchange.finish()

    def undo_step(self) -> None:
        """Throws away what the passes of a step have left in gradients and buffers."""
        self.model.zero_grad(set_to_none=True)
        if self._buffers is not None:
            self._buffers.restore()

    def accumulating(self, *, last: bool) -> AbstractContextManager[None]:
        """Around each forward and backward pass: only the last one of a step averages gradients."""
        if self._exchange is not None and last:
            return self._exchange.last_pass()
        if isinstance(self._parallel, DistributedDataParallel) and not last:
            return self._parallel.no_sync()
        return nullcontext()

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Around a validation: every rank has the first one's buffers, such as running means."""
        if self.world_size > 1:
            for buffer in self.model.buffers():
                dist.broadcast(buffer, src=0)
        yield


def _settle(parallel: DistributedDataParallel) -> None:
    """Runs the throw-away passes, with a stand-in for the model: nobody's code is called twice."""
    model = parallel.module
    parallel.module = _EveryWeight(model)
    for _ in range(SETTLING_PASSES):
        # On a GPU, DDP wants an argument that it can move there.
        parallel(torch.zeros(())).backward()
        model.zero_grad(set_to_none=True)
    parallel.module = model


class _EveryWeight(nn.Module):
    """Uses each weight of a model once; gradients then arrive from the last weight to the first."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        # Under this module, so that DDP finds the buffers it shares before each pass.
        self._model = model
        self._sparse = {id(layer.weight) for layer in _sparse_layers(model)}

    def forward(self, total: Tensor) -> Tensor:
        for weight in self._model.parameters():
            if weight.requires_grad:
                total = total + self._touch(weight)
        return total

    def _touch(self, weight: Tensor) -> Tensor:
        if id(weight) in self._sparse:
            first = torch.zeros(1, dtype=torch.long, device=weight.device)
            return functional.embedding(first, weight, sparse=True).sum()
        # A complex weight, too, makes a real sum.
        return weight.flatten()[:1].abs().sum()


def _sparse_layers(model: nn.Module) -> list[nn.Embedding | nn.EmbeddingBag]:
    """The layers whose gradients come in a form of their own."""
    return [
        layer
        for layer in model.modules()
        if isinstance(layer, nn.Embedding | nn.EmbeddingBag) and layer.sparse
    ]
