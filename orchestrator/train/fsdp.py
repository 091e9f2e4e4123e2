"""How the ranks share one model: each keeps a piece of every weight (fully sharded)."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from orchestrator.errors import JobFailedError
from orchestrator.train.optimizer import ScheduledOptimizer
from orchestrator.train.parts import ModelPart, PartState, is_finite


class FsdpStrategy(ModelPart):
    """FSDP2: weights, gradients and the optimizer's averages are cut over the ranks.

    A repeated block, which is a child of a `ModuleList` or a `Sequential`, is gathered for its own
    pass; what is left of the model is gathered as one. With micro-batches the weights stay whole
    from a step's first pass to its last: ranks differ in their rows, and so in their passes, and
    none may wait for one that another does not make.

    Source: https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html

    Args:
        several_passes: whether a step may have several passes.

    Raises:
        JobFailedError: the model cannot be cut.
    """

    def __init__(self, model: nn.Module, device: torch.device, *, several_passes: bool) -> None:
        if not dist.is_initialized():
            raise JobFailedError("training.strategy: fsdp needs a process group, and there is none")
        self.world_size = dist.get_world_size()
        self._keep = several_passes
        mesh = init_device_mesh(device.type, (self.world_size,))
        model = model.to(device)
        try:
            for block in [*_blocks(model), model]:
                fully_shard(block, mesh=mesh, reshard_after_forward=not several_passes)
        except (ValueError, NotImplementedError) as error:
            raise JobFailedError(
                f"training.strategy: fsdp cannot cut this model: {error}",
                hint="training.strategy: ddp keeps all of it on each worker",
            ) from error
        super().__init__(model)
        self._pieces = [part for part in model.modules() if isinstance(part, FSDPModule)]

    @property
    def trainable(self) -> nn.Module:
        """The model to call in training."""
        return self.model

    @property
    def can_retry(self) -> bool:
        """A rank that fails in a pass leaves the others in the exchange of weights."""
        return False

    def begin_step(self) -> None:
        """Nothing: no step is tried again."""

    def end_step(self) -> None:
        """Nothing: no step is tried again."""

    def undo_step(self) -> None:
        """Throws away what the passes of a step have left in the gradients."""
        self.model.zero_grad(set_to_none=True)

    def accumulating(self, *, last: bool) -> AbstractContextManager[None]:
        """Around each forward and backward pass: only the last one of a step averages gradients."""
        if self._keep:
            for piece in self._pieces:
                piece.set_requires_gradient_sync(last, recurse=False)
                piece.set_reshard_after_backward(last, recurse=False)
        return nullcontext()

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Around a validation: all weights are whole in it, so that ranks may differ in passes."""
        self._share_buffers()
        for piece in self._pieces:
            piece.set_reshard_after_forward(False, recurse=False)
            piece.unshard()
        try:
            yield
        finally:
            for piece in self._pieces:
                piece.set_reshard_after_forward(not self._keep, recurse=False)
                piece.reshard()

    def state(self) -> PartState:
        """The rank's pieces of the weights, and the first rank's buffers; all ranks call it."""
        self._share_buffers()
        return super().state()

    def spoilt(self) -> str | None:
        """The name of a weight of which this rank's piece is not finite."""
        for name, weight in self.model.named_parameters():
            piece = weight.to_local() if isinstance(weight, DTensor) else weight
            if weight.requires_grad and not is_finite(piece.detach()):
                return name
        return None

    def _share_buffers(self) -> None:
        for buffer in self.model.buffers():
            dist.broadcast(buffer, src=0)


class ShardedOptimizer(ScheduledOptimizer):
    """A scheduled optimizer whose averages are cut as the weights are; named as these."""

    def __init__(self, of: ScheduledOptimizer, model: nn.Module) -> None:
        self.__dict__.update(of.__dict__)
        self._model = model

    def state(self) -> PartState:
        """The averages by the name of their weight; the settings are those of the task.

        Before the first step torch fills them by a step on gradients of zero, which some optimizers
        count: it is then good for nothing but to be loaded into.
        """
        return {"state": self._whole()["state"]}

    def load(self, state: PartState) -> None:
        """Sets the averages; the settings stay those of the task and the spec."""
        set_optimizer_state_dict(self._model, self.optimizer, {**self._whole(), **state})

    def _whole(self) -> PartState:
        return dict(get_optimizer_state_dict(self._model, self.optimizer))


def _blocks(model: nn.Module) -> list[nn.Module]:
    """The outermost repeated blocks, unless they share a weight with the rest of the model."""
    found: list[nn.Module] = []
    for child in model.children():
        if isinstance(model, nn.ModuleList | nn.Sequential):
            found.append(child)
        else:
            found.extend(_blocks(child))
    return [block for block in found if _own_weights(block, model)]


def _own_weights(block: nn.Module, model: nn.Module) -> bool:
    own = {id(weight) for weight in block.parameters()}
    if not own:
        return False
    inside = set(block.modules())
    others = (part for part in model.modules() if part not in inside)
    return not any(
        id(weight) in own for part in others for weight in part.parameters(recurse=False)
    )
