"""How the ranks share one model: distributed data parallel."""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from orchestrator.train.parts import ModelPart

# DDP lays its gradient buckets out anew after the first pass, which changes the order of additions.
# Throwing two passes away puts that behind, so that a restarted run adds as the first one did.
SETTLING_PASSES = 2


class DdpStrategy(ModelPart):
    """The same model on every rank; gradients are averaged during the backward pass."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        super().__init__(model.to(device))
        self.world_size = dist.get_world_size() if dist.is_initialized() else 1
        self._parallel: nn.Module = self.model
        if self.world_size > 1 and any(weight.requires_grad for weight in model.parameters()):
            ids = [device] if device.type == "cuda" else None
            parallel = DistributedDataParallel(self.model, device_ids=ids)
            _settle(parallel)
            self._parallel = parallel

    @property
    def trainable(self) -> nn.Module:
        """The model to call in training."""
        return self._parallel

    def accumulating(self, *, last: bool) -> AbstractContextManager[None]:
        """Around each forward and backward pass: only the last one of a step averages gradients."""
        if isinstance(self._parallel, DistributedDataParallel) and not last:
            return self._parallel.no_sync()
        return nullcontext()

    def share_buffers(self) -> None:
        """Gives every rank the first one's buffers, such as running means, before a validation."""
        if self.world_size > 1:
            for buffer in self.model.buffers():
                dist.broadcast(buffer, src=0)


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
        embeddings = [
            layer
            for layer in model.modules()
            if isinstance(layer, nn.Embedding | nn.EmbeddingBag) and layer.sparse
        ]
        self._sparse = {id(layer.weight) for layer in embeddings}

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
