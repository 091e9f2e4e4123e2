"""A copy of a state in host memory, which training does not change while it is written."""

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

T = TypeVar("T")


class HostMemory:
    """Takes one copy at a time, each into the memory of the one before.

    Fresh memory costs several times what the copy does: the kernel hands it out page by page, and
    for a GPU it has to be pinned.
    """

    def __init__(self) -> None:
        self._buffers: list[Tensor] = []
        self._used = 0
        self._on_the_way = False

    def copy(self, state: T) -> tuple[T, Callable[[], None]]:
        """The state with all tensors on the CPU, and what to call before they are read.

        The copy holds what the tensors are now, whatever is done to them next. It is good until the
        next call.

        Args:
            state: tensors and plain values, in dicts, lists and tuples.
        """
        self._used, self._on_the_way = 0, False
        copied = cast("T", self._copy(state))
        del self._buffers[self._used :]
        if not self._on_the_way:
            return copied, _nothing
        # The copies stand in the GPU's queue before the next step, so that nobody waits here.
        event = torch.cuda.Event()
        event.record()
        return copied, event.synchronize

    def _copy(self, value: object) -> object:
        if isinstance(value, Tensor):
            # Tensors of a class of its own may be more than their numbers.
            plain = type(value) in (Tensor, nn.Parameter) and value.layout is torch.strided
            found = value.detach()
            return self._into_buffer(found) if plain else found.to("cpu", copy=True)
        if type(value) in (dict, OrderedDict):
            items = cast("dict[object, object]", value).items()
            return type(value)((key, self._copy(item)) for key, item in items)  # type: ignore[call-arg]  # a dict's
        if type(value) in (list, tuple):
            return type(value)(self._copy(item) for item in cast("list[object]", value))  # type: ignore[call-arg]  # a list's
        return copy.deepcopy(value)

    def _into_buffer(self, value: Tensor) -> Tensor:
        position, self._used = self._used, self._used + 1
        fits = position < len(self._buffers) and (
            (self._buffers[position].shape, self._buffers[position].dtype)
            == (value.shape, value.dtype)
        )
        if not fits:
            fresh = torch.empty_like(
                value, device="cpu", pin_memory=value.is_cuda, requires_grad=False
            )
            self._buffers[position : position + 1] = [fresh]
        buffer = self._buffers[position]
        buffer.copy_(value, non_blocking=value.is_cuda)
        self._on_the_way = self._on_the_way or value.is_cuda
        return buffer


def _nothing() -> None:
    """A copy on the CPU is there at once."""
