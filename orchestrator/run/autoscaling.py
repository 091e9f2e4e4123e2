"""What a cluster may become: the nodes that its autoscaler starts once somebody needs them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from ray._private import state as cluster_state

from orchestrator.labels import PREPROCESSING, ROLE, TRAINING, labels_of
from orchestrator.plan.placement import Node

# The autoscaler's label for the group that a node is of.
_GROUP_LABEL = "ray.io/node-group"


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeGroup:
    """Nodes that are alike, of which an autoscaler has up to a limit."""

    name: str
    cpus: float
    gpus: float
    most: int


def cluster_config() -> tuple[NodeGroup, ...]:
    """The groups that the cluster's autoscaler knows, none where it has no autoscaler."""
    config = cluster_state.state.get_cluster_config()
    if config is None:
        return ()
    return tuple(
        NodeGroup(
            name=str(group.name),
            cpus=float(group.resources.get("CPU", 0)),
            gpus=float(group.resources.get("GPU", 0)),
            most=int(group.max_count),
        )
        for group in config.node_group_configs
    )


def nodes_to_come(
    groups: Sequence[NodeGroup], nodes: Sequence[Mapping[str, object]]
) -> tuple[Node, ...]:
    """The nodes that an autoscaler may still start.

    Its groups come without their labels. In clusters of ours a group is named after its role.

    Args:
        nodes: those that are there, as `ray.nodes()` tells of them.
    """
    there = Counter(
        cast("Mapping[str, str]", node.get("Labels") or {}).get(_GROUP_LABEL)
        for node in nodes
        if node["Alive"]
    )
    return tuple(
        Node(cpus=group.cpus, gpus=group.gpus, labels=labels)
        for group in groups
        for labels in [
            labels_of({ROLE: group.name}) if group.name in (PREPROCESSING, TRAINING) else ()
        ]
        for _ in range(max(0, group.most - there[group.name]))
    )
