"""How gradients are averaged over the ranks, so that a rank that failed keeps none waiting."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from orchestrator.errors import JobFailedError

# As DDP has it: large enough that a transfer is worth its start, small enough to begin early.
BUCKET_BYTES = 25 << 20


class _Work(Protocol):
    def wait(self) -> object: ...


@dataclass(frozen=True, slots=True)
class _Sent:
    """The gradients of a bucket, end to end, on their way."""

    flat: Tensor
    work: _Work


class GradientExchange:
    """Averages gradients while the last backward pass of a step is under way.

    As `DistributedDataParallel` does it, in buckets from the last weight to the first. But there a
    rank whose pass fails leaves the others in an exchange that never ends. Here `finish` takes
    part in what is left of it, with whatever there is: all ranks then come out and can agree to
    throw the step away. The buckets never change, so neither does the order of additions.
    """

    def __init__(self, model: nn.Module) -> None:
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        self._world_size = dist.get_world_size()
        self._buckets = list(_buckets(reversed(weights)))
        self._pending: list[set[int]] = []
        self._sent: list[_Sent] = []
        self._begun = self._open = False
        for number, bucket in enumerate(self._buckets):
            for weight in bucket:
                weight.register_post_accumulate_grad_hook(partial(self._arrived, number))

    def begin(self) -> None:
        """Before the passes of a step."""
        self._pending = [set(map(id, bucket)) for bucket in self._buckets]
        self._begun = True

    @contextmanager
    def last_pass(self) -> Iterator[None]:
        """Around the last pass of a step: what it completes is sent at once."""
        if not self._begun:
            raise RuntimeError("the exchange of gradients was not begun")
        self._open = True
        try:
            yield
        finally:
            self._open = False

    def finish(self) -> None:
        """Sends what is left and waits for all; every rank has to call it after `begin`."""
        self._begun = False
        while len(self._sent) < len(self._buckets):
            self._send()
        sent, self._sent = self._sent, []
        for bucket, each in zip(self._buckets, sent, strict=True):
            each.work.wait()
            _spread(bucket, each.flat)

    def _arrived(self, number: int, weight: Tensor) -> None:
        """Autograd has added to a weight's gradient."""
        if not self._open:
            return
        if number < len(self._sent):
            raise JobFailedError(
                "a weight gets its gradient a second time in one backward pass, after it was sent"
                " to the other workers",
                hint="training.oom_retries: 0 leaves the exchange to DistributedDataParallel",
            )
        self._pending[number].discard(id(weight))
        # One after another, although a later one may be ready first: all ranks send the same.
        while len(self._sent) < len(self._buckets) and not self._pending[len(self._sent)]:
            self._send()

    @torch.no_grad()
    def _send(self) -> None:
        bucket = self._buckets[len(self._sent)]
        parts = [_gradient(weight).reshape(-1) for weight in bucket]
        # A bucket of its own is not copied.
        flat = parts[0] if len(parts) == 1 else torch.cat(parts)
        flat.div_(self._world_size)
        self._sent.append(_Sent(flat, dist.all_reduce(flat, async_op=True)))


class FlatCopy:
    """A copy of some tensors, those of a type end to end, from which they can be set again."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        by_kind: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        for tensor in tensors:
            by_kind.setdefault((tensor.dtype, tensor.device), []).append(tensor)
        self._groups = list(by_kind.values())
        with torch.no_grad():
            self._flats = [torch.cat([t.reshape(-1) for t in group]) for group in self._groups]

    def share(self) -> None:
        """Sets copy and tensors to those of the first rank; every rank has to call it."""
        for flat in self._flats:
            # As bytes: not every backend knows every type of number.
            dist.broadcast(flat.view(torch.uint8), src=0)
        self.restore()

    @torch.no_grad()
    def restore(self) -> None:
        """Sets the tensors to what they were."""
        for group, flat in zip(self._groups, self._flats, strict=True):
            for tensor, part in zip(group, flat.split([t.numel() for t in group]), strict=True):
                tensor.copy_(part.view_as(tensor))


def _buckets(weights: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """The weights in their order, cut where type or device changes or a bucket is full."""
    bucket: list[Tensor] = []
    size = 0
    for weight in weights:
        more = weight.numel() * weight.element_size()
        fits = bucket and (weight.dtype, weight.device) == (bucket[0].dtype, bucket[0].device)
        if bucket and (not fits or size + more > BUCKET_BYTES):
            yield bucket
            bucket, size = [], 0
        bucket.append(weight)
        size += more
    if bucket:
        yield bucket


def _gradient(weight: Tensor) -> Tensor:
    # A weight that this rank's rows did not use, or a pass that failed before.
    return torch.zeros_like(weight) if weight.grad is None else weight.grad


@torch.no_grad()
def _spread(bucket: Sequence[Tensor], flat: Tensor) -> None:
    for weight, part in zip(bucket, flat.split([w.numel() for w in bucket]), strict=True):
        if weight.grad is None:
            # No copy: here memory may be short.
            weight.grad = part.view_as(weight)
        elif weight.grad.data_ptr() != part.data_ptr():
            weight.grad.copy_(part.view_as(weight))
