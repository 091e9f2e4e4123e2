"""The store where ranks meet listens on loopback alone, where the node is there."""

from collections.abc import Iterator
from datetime import timedelta

import psutil
import pytest
import torch.distributed as dist
from ray._common.network_utils import find_free_port

from orchestrator.run import rendezvous


@pytest.fixture
def port() -> Iterator[int]:
    yield find_free_port()
    if dist.is_initialized():
        dist.destroy_process_group()
    rendezvous.leave()


def addresses(port: int) -> set[str]:
    """The addresses on which this process listens at a port."""
    connections = psutil.Process().net_connections(kind="tcp")
    listening = (each for each in connections if each.status == psutil.CONN_LISTEN)
    return {each.laddr.ip for each in listening if each.laddr.port == port}


def test_a_group_on_loopback_is_met_there_alone(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(port))
    rendezvous.meet_on_loopback("127.0.0.1", port)
    dist.init_process_group("gloo", "env://", timedelta(seconds=20), world_size=1, rank=0)
    dist.barrier()
    assert addresses(port) == {"127.0.0.1"}
    dist.destroy_process_group()
    rendezvous.leave()
    assert addresses(port) == set()


def test_other_addresses_are_left_to_torch(port: int) -> None:
    rendezvous.meet_on_loopback("192.0.2.7", port)
    assert addresses(port) == set()
