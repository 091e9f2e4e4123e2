"""On which nodes a job's workers may be, by its spec and by what the cluster has."""

import pytest

from orchestrator.errors import PlanError
from orchestrator.labels import Labels
from orchestrator.plan.placement import Node
from orchestrator.plan.resources import ClusterCapacity
from orchestrator.run.autoscaling import NodeGroup, nodes_to_come
from orchestrator.run.cluster import capacity_of_nodes
from tests.support.plans import make_plan, make_spec

PREPROCESSING: Labels = (("role", "preprocessing"),)
TRAINING: Labels = (("role", "training"),)


def cluster(*nodes: Node) -> ClusterCapacity:
    cpus = sum(node.cpus for node in nodes)
    return ClusterCapacity(
        cpus=cpus,
        gpus=sum(node.gpus for node in nodes),
        cores=int(cpus),
        embedded=False,
        nodes=nodes,
    )


OURS = cluster(
    Node(cpus=0, gpus=0, labels=(("role", "head"),)),
    Node(cpus=4, gpus=0, labels=PREPROCESSING),
    Node(cpus=4, gpus=1, labels=TRAINING),
)


def selectors(capacity: ClusterCapacity, **scaling: object) -> dict[str, Labels]:
    plan = make_plan(make_spec(scaling=scaling), capacity=capacity)
    return {need.what: need.selector for need in plan.resources.needs}


def test_preprocessing_goes_to_the_nodes_that_are_there_for_it() -> None:
    found = selectors(OURS)
    assert found["training"] == ()
    assert found["preprocessing"] == found["preprocessing, numbering"] == PREPROCESSING


def test_a_cluster_without_roles_is_left_to_ray() -> None:
    found = selectors(cluster(Node(cpus=8, gpus=0), Node(cpus=8, gpus=1)))
    assert set(found.values()) == {()}


def test_a_spec_has_the_last_word() -> None:
    found = selectors(
        OURS, labels={"role": "training"}, preprocessing={"labels": {"role": "!head"}}
    )
    assert found["training"] == TRAINING
    assert found["preprocessing"] == (("role", "!head"),)


def test_a_single_machine_has_no_labels_to_go_by() -> None:
    laptop = ClusterCapacity(cpus=8, gpus=0, cores=8, embedded=True)
    assert set(selectors(laptop, labels={"role": "training"}).values()) == {()}


def test_a_label_that_no_node_has_is_told_with_those_that_are_there() -> None:
    with pytest.raises(PlanError) as caught:
        selectors(OURS, labels={"role": "trainer"})
    assert (
        "training: a worker asks for 1 CPU on a node with role: trainer, and no node has that; "
        "there are 1 node of 4 CPUs and 1 GPU (role: training), 1 node of 4 CPUs (role: "
        "preprocessing), 1 node of 0 CPUs (role: head)"
    ) in str(caught.value)


def test_nodes_that_an_autoscaler_may_start_are_planned_with() -> None:
    groups = [
        NodeGroup(name="preprocessing", cpus=4, gpus=0, most=3),
        NodeGroup(name="training", cpus=4, gpus=1, most=2),
        NodeGroup(name="others", cpus=2, gpus=0, most=1),
    ]
    nodes: list[dict[str, object]] = [
        {"Alive": True, "Resources": {}, "Labels": {"role": "head"}},
        {
            "Alive": True,
            "Resources": {"CPU": 4.0},
            "Labels": {"role": "preprocessing", "ray.io/node-group": "preprocessing"},
        },
        {"Alive": False, "Resources": {"CPU": 4.0}, "Labels": {"ray.io/node-group": "training"}},
    ]
    coming = nodes_to_come(groups, nodes)
    assert coming == (
        *[Node(cpus=4, gpus=0, labels=PREPROCESSING)] * 2,
        *[Node(cpus=4, gpus=1, labels=TRAINING)] * 2,
        Node(cpus=2, gpus=0),
    )
    capacity = capacity_of_nodes(nodes, {"CPU": 1.0}, coming)
    assert (capacity.cpus, capacity.gpus) == (22, 2)
    assert capacity.free == Node(cpus=19, gpus=2)
    assert selectors(capacity)["preprocessing"] == PREPROCESSING
