"""Whether an attempt failed because a node is gone: Ray may know its actors dead before it."""

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import ray
from ray._private import state as cluster_state

from orchestrator.data.pools import is_pool
from orchestrator.run.failure import Failure

# Ray calls a node dead after missing five answers, three seconds apart.
WAIT_S = 20.0
_LOOK_EVERY_S = 0.2
_CONNECT_S = 1.0
# Deaths of which a lost node may be the cause.
_MAY_BE_NODE = frozenset({"worker", "preprocessing", "node"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """Where a node's own process of Ray listens."""

    number: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host} (id {self.number[:12]})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """What Ray says of the cluster: the nodes alive, by their id, and where each actor is or was.

    The actors are those that an attempt cannot go on without: no preprocessing worker is one.
    """

    nodes: Mapping[str, Node]
    actors: Mapping[str, str]


class NodeLosses:
    """Names deaths that the loss of a node explains, and counts them as that.

    Args:
        look: asks Ray.
        answers: whether a node's process accepts a connection.
    """

    def __init__(
        self,
        look: Callable[[], Sight] | None = None,
        answers: Callable[[Node], bool] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._look = look or look_at_cluster
        self._answers = answers or answers_at_all
        self._clock = clock
        self._pause = pause
        self._before = Sight(nodes={}, actors={})

    def begin(self) -> None:
        """Looks at the cluster as an attempt finds it."""
        self._before = self._look()

    def named(self, failure: Failure) -> Failure:
        """The failure, with the nodes where some that the attempt was on are gone.

        Waits until Ray knows it too, or for a limit: before, it would place the next attempt there.
        """
        if not failure.died or failure.kind not in _MAY_BE_NODE or len(self._before.nodes) < 2:
            return failure
        lost = self._lost()
        if not lost:
            return failure
        names = f"node{'s' if len(lost) > 1 else ''} {', '.join(map(str, lost))}"
        return replace(failure, kind="node", reason=f"{failure.reason} (lost: {names})")

    def _lost(self) -> list[Node]:
        before, deadline = self._before, self._clock() + WAIT_S
        while True:
            now = self._look()
            # A node where nothing but preprocessing was may have gone hours ago, and did no harm.
            used = {node for actor, node in now.actors.items() if actor not in before.actors}
            ours = [node for number, node in before.nodes.items() if number in used]
            silent = [n for n in ours if n.number in now.nodes and not self._answers(n)]
            if not silent or self._clock() >= deadline:
                return [n for n in ours if n.number not in now.nodes or n in silent]
            self._pause(_LOOK_EVERY_S)


def look_at_cluster() -> Sight:
    """What Ray knows now."""
    job = ray.get_runtime_context().get_job_id()
    nodes = [
        Node(
            number=str(node["NodeID"]),
            host=str(node["NodeManagerAddress"]),
            port=int(node["NodeManagerPort"]),
        )
        for node in ray.nodes()  # type: ignore[no-untyped-call] # of Ray's
        if node["Alive"]
    ]
    actors = {
        str(number): str(actor["Address"]["NodeID"])
        for number, actor in cluster_state.actors().items()
        if actor["JobID"] == job and not is_pool(str(actor["ActorClassName"]))
    }
    return Sight(nodes={node.number: node for node in nodes}, actors=actors)


def answers_at_all(node: Node) -> bool:
    """Whether something listens where the node's process should: refused at once where it died."""
    try:
        socket.create_connection((node.host, node.port), timeout=_CONNECT_S).close()
    except OSError:
        return False
    return True
