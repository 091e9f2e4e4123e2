"""What a cluster offers, and how it is reached; Ray itself is not started."""

from pathlib import Path

import psutil
import pytest

from orchestrator.errors import ClusterError
from orchestrator.plan.placement import Node
from orchestrator.run import cluster
from orchestrator.run.cluster import capacity_of, capacity_of_nodes
from orchestrator.spec.runtime import RuntimeSpec


def test_an_embedded_ray_declares_enough_for_a_small_machine() -> None:
    capacity = capacity_of(RuntimeSpec())
    assert capacity.cpus >= 8
    assert capacity_of(RuntimeSpec(cpus=3)).cpus == 3
    assert capacity.memory_bytes == psutil.virtual_memory().total


def test_an_address_where_nobody_listens_is_told_at_once() -> None:
    with pytest.raises(
        ClusterError, match=r"runtime\.address: nothing answers at 127\.0\.0\.1:1: C"
    ):
        capacity_of(RuntimeSpec(address="127.0.0.1:1"))


@pytest.mark.parametrize("there", [True, False])
def test_the_token_of_ray_is_readable_by_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    token = tmp_path / "ray" / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    if there:
        token.parent.mkdir()
        token.write_text("of-old")
        token.chmod(0o644)
    cluster._protect_token()
    assert token.stat().st_mode & 0o777 == 0o600
    assert (token.read_text() == "of-old") == there
    assert len(token.read_text()) > 5


def test_the_capacity_of_a_cluster_is_that_of_its_nodes_that_are_alive() -> None:
    capacity = capacity_of_nodes(
        [
            {"Alive": True, "Resources": {"CPU": 4.0, "memory": 1e9}},
            {"Alive": False, "Resources": {"CPU": 64.0}},
            {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}},
            {"Alive": True, "Resources": {"memory": 1e9}},
        ],
        {"CPU": 5.0},
    )
    assert (capacity.cpus, capacity.gpus, capacity.embedded) == (12.0, 2.0, False)
    assert capacity.machines == (
        Node(cpus=4, gpus=0),
        Node(cpus=8, gpus=2),
        Node(cpus=0, gpus=0),
    )
    assert capacity.free == Node(cpus=5, gpus=0)


def test_an_embedded_ray_is_one_machine_that_nobody_else_is_on() -> None:
    capacity = capacity_of(RuntimeSpec(cpus=3))
    assert [node.cpus for node in capacity.machines] == [3]
    assert capacity.free is None
