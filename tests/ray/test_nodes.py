"""What a cluster of several nodes offers, as Ray itself tells it."""

from collections.abc import Iterator

import pytest
import ray
from ray.cluster_utils import Cluster

from orchestrator.errors import PlanError
from orchestrator.run.cluster import capacity_of
from orchestrator.spec.runtime import RuntimeSpec
from tests.support.plans import make_plan, make_spec


@pytest.fixture
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of a node with four CPUs and one with three."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4})
    try:
        cluster.add_node(num_cpus=3)
        cluster.wait_for_nodes()
        yield cluster.address
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_a_worker_has_to_fit_on_a_node_and_not_only_into_the_cluster(address: str) -> None:
    capacity = capacity_of(RuntimeSpec(address=address))
    assert not ray.is_initialized()
    assert sorted(node.cpus for node in capacity.nodes) == [3, 4]
    assert (capacity.cpus, capacity.embedded) == (7, False)
    assert capacity.free is not None
    assert capacity.free.cpus == 7
    make_plan(make_spec(scaling={"workers": 2, "cpus_per_worker": 2}), capacity=capacity)
    with pytest.raises(PlanError, match="training: a worker asks for 5 CPUs, and no node has that"):
        make_plan(make_spec(scaling={"workers": 1, "cpus_per_worker": 5}), capacity=capacity)
    with pytest.raises(PlanError, match="do not fit on the nodes together"):
        make_plan(make_spec(scaling={"workers": 2, "cpus_per_worker": 2.5}), capacity=capacity)
