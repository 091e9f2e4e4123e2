"""What a development cluster is asked to be, and what is said of a wrong wish."""

from typing import Any

import pytest
import yaml

from orchestrator.errors import ClusterError
from orchestrator.provision.autoscaling import autoscaler_config
from orchestrator.provision.request import Amount, ClusterRequest

WISH: dict[str, Any] = {
    "name": "local",
    "cpu_nodes": "2",
    "gpu_nodes": "1",
    "cpus_per_node": "4",
    "autoscale": False,
    "idle_timeout": "60s",
}


def test_a_request_survives_its_record() -> None:
    request = ClusterRequest.parse(**{**WISH, "autoscale": True, "cpu_nodes": "0..3"})
    assert request.cpu_nodes == Amount(least=0, most=3)
    assert ClusterRequest.from_record(request.as_record()) == request


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"name": "../up"}, '--name: got "../up"'),
        ({"name": ""}, '--name: got ""'),
        ({"name": "x" * 32}, "1 to 31"),
        ({"cpu_nodes": "two"}, '--cpu-nodes: got "two"'),
        ({"cpu_nodes": "3..1"}, '--cpu-nodes: got "3..1"'),
        ({"gpu_nodes": "65"}, '--gpu-nodes: got "65"'),
        ({"gpu_nodes": "-1"}, '--gpu-nodes: got "-1"'),
        ({"cpus_per_node": "0"}, '--cpus-per-node: got "0"'),
        ({"idle_timeout": "soon"}, "--idle-timeout:"),
        ({"cpu_nodes": "0..3"}, "got a range of nodes"),
    ],
)
def test_a_wrong_wish_is_told_with_its_option(changed: dict[str, str], told: str) -> None:
    with pytest.raises(ClusterError) as caught:
        ClusterRequest.parse(**{**WISH, **changed})
    assert told in str(caught.value)


@pytest.mark.parametrize("record", [{}, {"cpu_nodes": 2}, {"name": "one", "size": "large"}])
def test_a_record_of_another_version_is_told(record: dict[str, object]) -> None:
    with pytest.raises(ClusterError, match="does not tell what the cluster was asked to be"):
        ClusterRequest.from_record(record)


def test_the_head_has_no_work_but_where_it_is_alone() -> None:
    alone = ClusterRequest.parse(**{**WISH, "cpu_nodes": "0", "gpu_nodes": "0"})
    assert alone.head_cpus == 4
    assert ClusterRequest.parse(**WISH).head_cpus == 0


def test_the_autoscaler_gets_both_kinds_of_nodes_with_their_limits() -> None:
    request = ClusterRequest.parse(
        **{**WISH, "autoscale": True, "cpu_nodes": "0..3", "gpu_nodes": "1..2"}
    )
    config = yaml.safe_load(autoscaler_config(request, address="127.0.0.1:6379"))
    types = config["available_node_types"]
    assert {name: (each["min_workers"], each["max_workers"]) for name, each in types.items()} == {
        "ray.head.default": (0, 0),
        "preprocessing": (0, 3),
        "training": (1, 2),
    }
    assert types["training"]["resources"] == {"CPU": 4, "GPU": 1}
    assert types["preprocessing"]["labels"] == {"role": "preprocessing"}
    assert config["max_workers"] == 5
    assert config["idle_timeout_minutes"] == 1
