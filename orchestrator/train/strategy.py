"""How the ranks share one model: distributed data parallel."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

# DDP lays its gradient buckets out anew after the first pass, which changes the order of additions.
# Throwing two passes away puts that behind, so that a restarted run adds as the first one did.
SETTLING_PASSES = 2

ModelState = dict[str, Any]


class DdpStrategy:
    """The same model on every rank; gradients are averaged during the backward pass."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.model = model.to(device)
        self.world_size = dist.get_world_size() if dist.is_initialized() else 1
        self._parallel: nn.Module = self.model
        if self.world_size > 1:
            ids = [device] if device.type == "cuda" else None
            self._parallel = DistributedDataParallel(self.model, device_ids=ids)

    @property
    def trainable(self) -> nn.Module:
        """The model to call in training."""
        return self._parallel

    def accumulating(self, *, last: bool) -> AbstractContextManager[None]:
        """Around each forward and backward pass: only the last one of a step averages gradients."""
        if isinstance(self._parallel, DistributedDataParallel) and not last:
            return self._parallel.no_sync()
        return nullcontext()

    def settle(self, forward_backward: Callable[[], None]) -> None:
        """Runs the throw-away passes; the model is left as it was."""
        if self.world_size == 1:
            return
        # By hand: a state dict leaves out the buffers that are not to be saved.
        before = [buffer.detach().clone() for buffer in self.model.buffers()]
        for _ in range(SETTLING_PASSES):
            forward_backward()
            self.model.zero_grad(set_to_none=True)
        with torch.no_grad():
            for buffer, value in zip(self.model.buffers(), before, strict=True):
                buffer.copy_(value)

    def share_buffers(self) -> None:
        """Gives every rank the first one's buffers, such as running means, before a validation."""
        if self.world_size > 1:
            for buffer in self.model.buffers():
                dist.broadcast(buffer, src=0)

    def state(self) -> ModelState:
        """A copy of the weights and buffers on the CPU, and of what else the model keeps."""
        return {
            name: value.detach().to("cpu", copy=True)
            if isinstance(value, Tensor)
            else copy.deepcopy(value)
            for name, value in self.model.state_dict().items()
        }

    def load(self, state: ModelState) -> None:
        """Sets the weights and buffers."""
        self.model.load_state_dict(state)
