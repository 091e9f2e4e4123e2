"""A copy of a state on a GPU is taken in the queue of its work, and nobody waits for it."""

import torch

from orchestrator.train.host_memory import HostMemory

# Large enough for a copy to take longer than the call that begins it.
NUMBERS = 1 << 24


def test_a_copy_holds_what_was_when_it_was_asked_for() -> None:
    memory, weight = HostMemory(), torch.zeros(NUMBERS, device="cuda")
    for step in range(1, 6):
        weight.add_(1.0)
        copied, arrived = memory.copy({"weight": weight, "step": step})
        # The steps to come do not wait for the copy, and the copy does not see them.
        weight.mul_(2.0)
        weight.mul_(0.5)
        weight.add_(7.0)
        weight.sub_(7.0)
        held = copied["weight"]
        assert held.device.type == "cpu"
        assert held.is_pinned()
        arrived()
        assert copied["step"] == step
        assert bool((held == float(step)).all())


def test_the_next_copy_takes_the_pinned_memory_of_the_one_before() -> None:
    memory, weight = HostMemory(), torch.ones(4, device="cuda")
    first, arrived = memory.copy([weight])
    arrived()
    where = first[0].data_ptr()
    weight.fill_(2.0)
    second, arrived = memory.copy([weight])
    arrived()
    assert second[0].data_ptr() == where
    assert second[0].tolist() == [2.0] * 4
