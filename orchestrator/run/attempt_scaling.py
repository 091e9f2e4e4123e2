"""The nodes while an attempt is at work: room for more workers, and nodes that are to go."""

import time
from collections.abc import Callable, Mapping, MutableSet, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orchestrator.errors import OrchestratorError, PlanError
from orchestrator.jsonl import JsonObject
from orchestrator.plan.elastic import room_for
from orchestrator.plan.job import JobPlan
from orchestrator.run.growth import Growth
from orchestrator.run.nodes import NodeState, capacity_of_states
from orchestrator.units import format_duration

if TYPE_CHECKING:
    from orchestrator.plan.placement import Node

LOOK_EVERY_S = 1.0
# Workers that have a place begin to start at once; a look before would be too early.
PLACED_AFTER_S = 3.0


class RescaleError(OrchestratorError):
    """An attempt ends before it has trained, as it would wait for places that are gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """Why the driver stops an attempt; `node` is the one that is about to go."""

    kind: Literal["growth", "preemption"]
    why: str
    node: NodeState | None = None


class AttemptScaling:
    """Called several times a second while an attempt is at work.

    Args:
        noticed: nodes whose end has been told of before; those of this attempt are added. If the
            workers get their places on such a node again, there are no others for them.
        look: the nodes, some of which Ray may still take for living ones.
        reach: whether a node answers.
        hosts: how many training workers each node has, by its number.
        ask: asks the workers for a last checkpoint and their end.
        tell: writes an event.

    Attributes:
        stop: why the workers have been asked to stop, None while they have not.
        stopped_at: when they have said that they have, Unix time.
        ceiling: the most workers that the next attempt is to have, None where that is open.
        nodes: those that were alive at the last look.
    """

    def __init__(
        self,
        plan: JobPlan,
        *,
        noticed: MutableSet[str],
        look: Callable[[], Sequence[NodeState]],
        reach: Callable[[NodeState], bool],
        hosts: Callable[[], Mapping[str, int]],
        ask: Callable[[], None],
        tell: Callable[[str, JsonObject], None],
        began: Callable[[JsonObject], None],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._plan = plan
        self._noticed = noticed
        self._look = look
        self._reach = reach
        self._hosts = hosts
        self._ask = ask
        self._tell = tell
        self._began = began
        self._clock = clock
        self._now = now
        self._growth = Growth(plan.workers, after_s=plan.spec.scaling.grow_after)
        self._training = False
        self._starved = False
        self._created = self._looked_at = clock()
        self._possible: tuple[tuple[Node, ...], int] | None = None
        self.stop: Stop | None = None
        self.stopped_at: float | None = None
        self.ceiling: int | None = None
        self.nodes: Sequence[NodeState] = ()

    def took(self, event: JsonObject) -> None:
        """Takes an event of this attempt."""
        if event.get("event") == "training-started":
            self._training = True
            self._growth.began(self._clock())
            self._began(event)
        elif event.get("event") == "stopped" and isinstance(at := event.get("time"), int | float):
            self.stopped_at = float(at)

    def starved(self) -> None:
        """Takes notice that its workers have waited for their places for some seconds."""
        self._starved = True

    def check(self) -> None:
        """Looks once, if it is time.

        Raises:
            RescaleError: the workers would wait for places that are gone.
        """
        now = self._clock()
        if self.stop is not None or now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        nodes = self.nodes = self._look()
        if (going := self._notice(nodes)) is not None:
            self._end(going)
        elif not self._plan.spec.scaling.elastic:
            return
        elif self._training:
            self._grow(nodes, now)
        elif now - self._created >= PLACED_AFTER_S:
            self._shrink(nodes)

    def _notice(self, nodes: Sequence[NodeState]) -> Stop | None:
        """A node that has training workers and is about to go."""
        going = [node for node in nodes if not node.stays and node.id not in self._noticed]
        hosts = self._hosts() if going else {}
        node = next((node for node in going if hosts.get(node.id)), None)
        if node is None or node.deadline is None:
            return None
        self._noticed.add(node.id)
        left = max(0.0, node.deadline - self._now()) if node.deadline else None
        limit = "" if left is None else f" in {format_duration(left)}"
        self._tell(
            "preemption-notice",
            {
                "node": node.id,
                "address": node.address,
                "deadline": node.deadline or None,
                "seconds_left": None if left is None else round(left, 3),
                "workers": hosts[node.id],
            },
        )
        why = f"node {node.address} ({node.id[:8]}), which has {hosts[node.id]} of the workers,"
        return Stop(kind="preemption", why=f"{why} is taken away{limit}", node=node)

    def _end(self, stop: Stop) -> None:
        self.stop = stop
        if not self._training:
            raise RescaleError(stop.why)
        self._ask()

    def _grow(self, nodes: Sequence[NodeState], now: float) -> None:
        if not self._growth.ripe(now):
            return
        scaling, workers = self._plan.spec.scaling, self._plan.workers
        most = scaling.most_workers - workers
        roomy = [
            node
            for node in nodes
            if node.stays and room_for(scaling, [node.free], most=1) and self._reach(node)
        ]
        more = room_for(scaling, [node.free for node in roomy], most=most)
        possible = min(workers + more, self._fitting(nodes)) if more else workers
        if self._growth.wanted(possible, now):
            self._end(Stop(kind="growth", why=f"the cluster has room for {possible} workers"))

    def _shrink(self, nodes: Sequence[NodeState]) -> None:
        """Ends an attempt that will not get its places, where one with fewer workers might."""
        workers, least = self._plan.workers, self._plan.spec.scaling.least_workers
        possible = self._fitting([node for node in nodes if self._reach(node)])
        if possible >= workers and self._starved:
            # Others hold what it lacks, and what they leave is seen once its own is free again.
            possible = workers - 1
        if least <= possible < workers:
            self.ceiling = possible
            raise RescaleError(f"there is no room for {workers} workers any more")

    def _fitting(self, nodes: Sequence[NodeState]) -> int:
        """How many workers the nodes that stay have room for, if nobody else is on them."""
        capacity = capacity_of_states(nodes, free=False)
        if self._possible is None or self._possible[0] != capacity.nodes:
            try:
                workers = self._plan.on(capacity).workers
            except PlanError:
                workers = self._plan.spec.scaling.least_workers
            self._possible = capacity.nodes, workers
        return self._possible[1]
