"""The nodes of a cluster as they are now: what each has left, which are about to go."""

import socket
from collections import Counter
from collections.abc import Mapping, MutableSet, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import ray
from ray._private import state as cluster_state
from ray.util import placement_group_table

from orchestrator.data.pools import pool_workers
from orchestrator.labels import labels_of
from orchestrator.plan.placement import Node
from orchestrator.plan.resources import ClusterCapacity

if TYPE_CHECKING:
    from pydantic import JsonValue

_CONNECT_S = 0.5
# Of these one is each node's own, its number.
_OF_RAY = "ray.io/node-id"


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeState:
    """A node that is alive, as far as Ray knows.

    Attributes:
        total: what it offers.
        free: what nobody holds of that.
        deadline: when a node that is being drained is to go, Unix time in seconds, 0 where that is
            not said; None for a node that stays.
    """

    id: str
    address: str
    port: int
    total: Node
    free: Node
    deadline: float | None = None

    @property
    def stays(self) -> bool:
        return self.deadline is None


def look_at_nodes() -> tuple[NodeState, ...]:
    """The nodes that are alive."""
    nodes: list[dict[str, object]] = ray.nodes()  # type: ignore[no-untyped-call] # of Ray's
    free: dict[str, dict[str, float]] = cluster_state.available_resources_per_node()  # type: ignore[no-untyped-call] # of Ray's
    return nodes_of(nodes, free, cluster_state.state.get_draining_nodes())


def nodes_of(
    nodes: Sequence[Mapping[str, object]],
    free: Mapping[str, Mapping[str, float]],
    draining: Mapping[str, int],
) -> tuple[NodeState, ...]:
    """The living nodes, from what Ray says of nodes, of free resources and of drains (in ms)."""
    return tuple(
        NodeState(
            id=number,
            address=str(node["NodeManagerAddress"]),
            port=int(str(node["NodeManagerPort"])),
            total=node_of(cast("Mapping[str, float]", node["Resources"]), labels),
            free=node_of(free.get(number, {}), labels),
            deadline=draining[number] / 1000 if number in draining else None,
        )
        for node in nodes
        if node["Alive"]
        for number in [str(node["NodeID"])]
        for labels in [cast("Mapping[str, str]", node.get("Labels") or {})]
    )


def answers(node: NodeState) -> bool:
    """Whether a node can be reached: Ray takes some seconds to notice that one is gone."""
    try:
        socket.create_connection((node.address, node.port), timeout=_CONNECT_S).close()
    except OSError:
        return False
    return True


def capacity_of_states(nodes: Sequence[NodeState], *, free: bool) -> ClusterCapacity:
    """What the nodes that stay offer, or what is free of that."""
    staying = [node for node in nodes if node.stays]
    offers = tuple(node.free if free else node.total for node in staying)
    cpus = sum(node.cpus for node in offers)
    return ClusterCapacity(
        cpus=cpus,
        gpus=sum(node.gpus for node in offers),
        cores=max(1, int(cpus)),
        embedded=False,
        nodes=offers,
        free=Node(
            cpus=sum(node.free.cpus for node in staying),
            gpus=sum(node.free.gpus for node in staying),
        ),
    )


def own_node() -> str:
    """The node of this process."""
    return str(ray.get_runtime_context().get_node_id())


def training_nodes() -> Mapping[str, int]:
    """How many training workers of this job each node has."""
    job = ray.get_runtime_context().get_job_id()
    places = [
        node
        for group in placement_group_table().values()
        # The number of the job is the end of the group's.
        if group["state"] == "CREATED" and str(group["placement_group_id"]).endswith(job)
        for node in group["bundles_to_node_id"].values()
    ]
    return Counter(map(str, places))


def placed(known: MutableSet[str]) -> "dict[str, JsonValue]":
    """On which nodes this job's workers are, and what those nodes are: for an event.

    Preprocessing may have ended before anybody looks, where the rows are few.

    Args:
        known: preprocessing workers of earlier attempts; those of this one are added.
    """
    new = [worker for worker in pool_workers() if worker.node and worker.number not in known]
    known |= {worker.number for worker in new}
    pools = Counter(worker.node_id for worker in new)
    training = training_nodes()
    nodes: list[dict[str, object]] = ray.nodes()  # type: ignore[no-untyped-call] # of Ray's
    labels: dict[str, JsonValue] = {
        str(node["NodeID"]): cast("dict[str, JsonValue]", node.get("Labels") or {})
        for node in nodes
        if str(node["NodeID"]) in {*pools, *training}
    }
    return {"training": {**training}, "preprocessing": {**pools}, "labels": labels}


def node_of(resources: Mapping[str, float], labels: Mapping[str, str]) -> Node:
    """A node as plans count with it, without the labels that Ray gives by itself."""
    own = {key: value for key, value in labels.items() if not key.startswith(_OF_RAY)}
    # What a node has none of, or what is used up, is not listed at all.
    return Node(
        cpus=resources.get("CPU", 0.0), gpus=resources.get("GPU", 0.0), labels=labels_of(own)
    )
