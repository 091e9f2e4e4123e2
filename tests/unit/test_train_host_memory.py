"""A copy in host memory holds what was, in the same memory each time."""

from collections import OrderedDict

import torch
from torch import nn

from orchestrator.train.host_memory import HostMemory


def test_a_copy_is_not_changed_by_what_is_done_to_the_state() -> None:
    layer = nn.Linear(2, 2)
    weights = layer.weight.detach().clone()
    inner = OrderedDict(moment=torch.ones(3), names=["a", "b"], count=4)
    state = {"weight": layer.weight, "list": [inner, (torch.zeros(2), "text")], "none": None}
    copied, arrived = HostMemory().copy(state)
    with torch.no_grad():
        layer.weight.fill_(7.0)
    inner["moment"].fill_(8.0)
    inner["names"].append("c")
    inner["count"] = 5
    arrived()
    assert torch.equal(copied["weight"], weights)
    assert not copied["weight"].requires_grad
    found, (zeros, text) = copied["list"]
    assert type(found) is OrderedDict
    assert torch.equal(found["moment"], torch.ones(3))
    assert (found["names"], found["count"], text, copied["none"]) == (["a", "b"], 4, "text", None)
    assert torch.equal(zeros, torch.zeros(2))


def test_the_next_copy_takes_the_memory_of_the_one_before() -> None:
    memory, weight = HostMemory(), torch.ones(4)
    first, _ = memory.copy({"weight": weight})
    where = first["weight"].data_ptr()
    weight.fill_(2.0)
    second, _ = memory.copy({"weight": weight})
    assert second["weight"].data_ptr() == where != weight.data_ptr()
    assert second["weight"].tolist() == [2.0] * 4


def test_a_state_that_has_grown_shrunk_or_changed_its_type_is_copied_as_it_is() -> None:
    memory = HostMemory()
    for state in (
        [torch.ones(2)],
        [torch.arange(3), torch.ones(2), torch.ones(2, 2, dtype=torch.float16)],
        [torch.ones(2, dtype=torch.complex64)],
        [torch.ones(1).expand(5), torch.eye(3).T],
        [],
    ):
        copied, _ = memory.copy(state)
        assert len(copied) == len(state)
        for found, wanted in zip(copied, state, strict=True):
            assert found.dtype == wanted.dtype
            assert torch.equal(found, wanted)
