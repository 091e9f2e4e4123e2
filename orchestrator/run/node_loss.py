"""Whether an attempt failed because a node is gone: Ray may know its actors dead before it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import ray
from ray._private import state as cluster_state

from orchestrator.data.pools import is_pool
from orchestrator.run.failure import Failure
from orchestrator.run.nodes import NodeState, answers, look_at_nodes

# Ray calls a node dead after missing five answers, three seconds apart.
WAIT_S = 20.0
_LOOK_EVERY_S = 0.2
# Deaths of which a lost node may be the cause.
_MAY_BE_NODE = frozenset({"worker", "preprocessing", "node"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """What Ray says of the cluster: the nodes alive, by their id, and where each actor is or was.

    The actors are those that an attempt cannot go on without: no preprocessing worker is one.
    """

    nodes: Mapping[str, NodeState]
    actors: Mapping[str, str]


class NodeLosses:
    """Names deaths that the loss of a node explains, and counts them as that.

    Args:
        look: asks Ray.
        reach: whether a node's process accepts a connection.
    """

    def __init__(
        self,
        look: Callable[[], Sight] | None = None,
        reach: Callable[[NodeState], bool] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._look = look or look_at_cluster
        self._reach = reach or answers
        self._clock = clock
        self._pause = pause
        self._before = Sight(nodes={}, actors={})

    def begin(self) -> None:
        """Looks at the cluster as an attempt finds it."""
        self._before = self._look()

    def named(self, failure: Failure, *, wait: bool = True) -> Failure:
        """The failure, with the nodes where some that the attempt was on are gone.

        Args:
            wait: until Ray knows it too, or for a limit: before, it would place the next attempt
                there.
        """
        if not failure.died or failure.kind not in _MAY_BE_NODE or len(self._before.nodes) < 2:
            return failure
        lost = self._lost(WAIT_S if wait else 0.0)
        if not lost:
            return failure
        names = f"node{'s' if len(lost) > 1 else ''} {', '.join(map(_named, lost))}"
        return replace(failure, kind="node", reason=f"{failure.reason} (lost: {names})")

    def _lost(self, limit_s: float) -> list[NodeState]:
        before, deadline = self._before, self._clock() + limit_s
        while True:
            now = self._look()
            # A node where nothing but preprocessing was may have gone hours ago, and did no harm.
            used = {node for actor, node in now.actors.items() if actor not in before.actors}
            ours = [node for number, node in before.nodes.items() if number in used]
            silent = [n for n in ours if n.id in now.nodes and not self._reach(n)]
            if not silent or self._clock() >= deadline:
                return [n for n in ours if n.id not in now.nodes or n in silent]
            self._pause(_LOOK_EVERY_S)


def look_at_cluster() -> Sight:
    """What Ray knows now."""
    job = ray.get_runtime_context().get_job_id()
    actors = {
        str(number): str(actor["Address"]["NodeID"])
        for number, actor in cluster_state.actors().items()
        if actor["JobID"] == job and not is_pool(str(actor["ActorClassName"]))
    }
    return Sight(nodes={node.id: node for node in look_at_nodes()}, actors=actors)


def _named(node: NodeState) -> str:
    return f"{node.address} (id {node.id[:12]})"
