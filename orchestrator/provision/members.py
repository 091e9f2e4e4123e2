"""The nodes of a development cluster: what each offers, and how one is added, drained or killed."""

import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
from ray._raylet import GcsClient  # type: ignore[attr-defined] # compiled, untyped
from ray.core.generated.autoscaler_pb2 import (  # type: ignore[attr-defined]
    DrainNodeReason,
)
from ray.core.generated.gcs_pb2 import (  # type: ignore[attr-defined]
    GcsNodeInfo,
    NodeSnapshot,
)

from orchestrator.errors import ClusterError
from orchestrator.labels import HEAD, ROLE
from orchestrator.provision.alone import alone_with
from orchestrator.provision.launch import start_nodes
from orchestrator.provision.node import NodeStarted
from orchestrator.provision.registry import ClusterRecord, recorded
from orchestrator.provision.request import ClusterRequest
from orchestrator.run.local_clusters import using_token
from orchestrator.run.reap import living

_ANSWER_S = 10.0
_GONE_S = 30.0
_COME_S = 120.0
_LOOK_EVERY_S = 0.2
# As many letters of a node's number as tell nodes apart for people; the last ones, as an autoscaler
# counts its nodes from the end.
SHOWN = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class MemberNode:
    """A node that is alive."""

    id: str
    port: int
    labels: Mapping[str, str]
    resources: Mapping[str, float]
    draining: bool

    @property
    def role(self) -> str:
        return self.labels.get(ROLE, "")

    @property
    def short_id(self) -> str:
        return self.id[-SHOWN:]


def members(record: ClusterRecord) -> tuple[MemberNode, ...]:
    """The living nodes of a cluster, the head first.

    Raises:
        ClusterError: the cluster does not answer.
    """
    alive = GcsNodeInfo.GcsNodeState.Value("ALIVE")
    with using_token(record.token_file), _answering(record):
        _check_listening(record.address)
        found = GcsClient(address=record.address).get_all_node_info(timeout=_ANSWER_S)
    nodes = [
        MemberNode(
            id=number.hex(),
            port=info.node_manager_port,
            labels=dict(info.labels),
            resources=dict(info.resources_total),
            draining=info.state_snapshot.state == NodeSnapshot.DRAINING,
        )
        for number, info in found.items()
        if info.state == alive
    ]
    return tuple(sorted(nodes, key=lambda node: (node.role != HEAD, node.role, node.id)))


@contextmanager
def _answering(record: ClusterRecord) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Ray's client raises what gRPC gives it
        raise ClusterError(
            f'the cluster "{record.name}" does not answer at {record.address}: {error}',
            hint=f"orchestrator cluster down --name {record.name} ends what is left of it",
        ) from error


def _check_listening(address: str) -> None:
    """Ray's client would try for most of a minute where nobody listens any more."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()


def wait_for(record: ClusterRecord, count: int) -> None:
    """Waits until a cluster has so many nodes, the head among them.

    Raises:
        ClusterError: it does not get them.
    """
    until = time.monotonic() + _COME_S
    while (there := len(members(record))) < count:
        if time.monotonic() > until:
            raise ClusterError(
                f'the cluster "{record.name}" has {there} nodes after {_COME_S:.0f} s,'
                f" wanted {count}",
                hint="a machine that is busy may need longer; fewer nodes need less",
            )
        time.sleep(_LOOK_EVERY_S)


def add(record: ClusterRecord, role: str) -> NodeStarted:
    """Starts one more node of a role.

    Raises:
        ClusterError: it does not start.
    """
    request = ClusterRequest.from_record(record.request)
    # Of two nodes that start at once one would take the other's socket.
    with alone_with(record.name):
        if recorded(record.name) != record:
            raise ClusterError(f'the cluster "{record.name}" has been ended meanwhile')
        return start_nodes(record, [role], request)[0]


def drain(record: ClusterRecord, node: MemberNode, *, seconds: float) -> None:
    """Gives notice that a node will be taken away, as a cloud does for a spot machine.

    Raises:
        ClusterError: Ray does not accept it.
    """
    reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    deadline_ms = int((time.time() + seconds) * 1000)
    with using_token(record.token_file):
        accepted, why_not = GcsClient(address=record.address).drain_node(
            node.id, reason, "taken away by hand", deadline_ms
        )
    if not accepted:
        raise ClusterError(f"node {node.short_id} is not drained: {why_not}")


def remove(record: ClusterRecord, node: MemberNode) -> None:
    """Kills a node without notice, and waits until the cluster knows.

    Raises:
        ClusterError: it is the head, or does not go.
    """
    if node.role == HEAD:
        raise ClusterError(
            f"node {node.short_id} is the head, without which there is no cluster",
            hint=f"orchestrator cluster down --name {record.name} ends the cluster",
        )
    _raylet_of(record, node).kill()
    until = time.monotonic() + _GONE_S
    while any(other.id == node.id for other in members(record)):
        if time.monotonic() > until:
            raise ClusterError(f"node {node.short_id} is still there {_GONE_S:.0f} s after its end")
        time.sleep(_LOOK_EVERY_S)


def find(nodes: Sequence[MemberNode], text: str) -> MemberNode:
    """The node whose number begins or ends with a text.

    Raises:
        ClusterError: there is none, or more than one.
    """
    fitting = [
        node for node in nodes if text and (node.id.startswith(text) or node.id.endswith(text))
    ]
    if len(fitting) == 1:
        return fitting[0]
    there = ", ".join(f"{node.short_id} ({node.role})" for node in nodes)
    many = "more than one node" if fitting else "no node"
    raise ClusterError(f'{many} with the number "{text}" (nodes: {there})')


def _raylet_of(record: ClusterRecord, node: MemberNode) -> psutil.Process:
    """The process that listens on the node's port: one that an autoscaler started is not ours."""
    for process in living(record.processes):
        try:
            listening = process.net_connections(kind="tcp")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if any(
            each.status == psutil.CONN_LISTEN and each.laddr.port == node.port for each in listening
        ):
            return process
    raise ClusterError(f"no process of node {node.short_id} is found on this machine")
