"""The preprocessing workers of this job, as Ray's own records have them."""

from collections import Counter
from dataclasses import dataclass

import ray
from ray._private import state as cluster_state

# Ray Data names the class of a pool's actors after the stage.
_PREFIX = "MapWorker"


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolWorker:
    """One actor of a pool.

    Attributes:
        number: Ray's id of the actor, the same after a restart.
        state: in Ray's words.
        restarts: how often it was started again.
        node: where it is or was, for people; empty while it has no place.
        node_id: Ray's id of that node.
    """

    number: str
    pool: str
    state: str
    restarts: int
    node: str
    node_id: str = ""


def pool_workers() -> list[PoolWorker]:
    """The preprocessing workers of this job, those that have ended too; needs no dashboard."""
    job = ray.get_runtime_context().get_job_id()
    return [
        PoolWorker(
            number=str(actor["ActorID"]),
            pool=str(actor["ActorClassName"]),
            state=str(actor["State"]),
            restarts=int(actor["NumRestarts"]),
            node=_place(str(actor["Address"]["IPAddress"]), str(actor["Address"]["NodeID"])),
            node_id=str(actor["Address"]["NodeID"]),
        )
        for actor in cluster_state.actors().values()
        if actor["JobID"] == job and is_pool(str(actor["ActorClassName"]))
    ]


def is_pool(class_name: str) -> bool:
    """Whether an actor of such a class, in Ray's words, is a preprocessing worker."""
    return class_name.startswith(_PREFIX)


def describe_pools(workers: list[PoolWorker]) -> str:
    """What they are at, in words: "2 preprocessing workers are at work"."""
    states = Counter(worker.state for worker in workers)
    parts = []
    if alive := states["ALIVE"]:
        parts.append(f"{_counted(alive)} at work")
    if starting := states["PENDING_CREATION"] + states["DEPENDENCIES_UNREADY"]:
        parts.append(f"{_counted(starting)} being started")
    if again := states["RESTARTING"]:
        parts.append(f"{_counted(again)} being started again")
    text = ", ".join(parts) or "no preprocessing worker is alive"
    restarts = sum(worker.restarts for worker in workers)
    if not restarts:
        return text
    return f"{text}; they have died {'once' if restarts == 1 else f'{restarts} times'} so far"


def _place(host: str, node: str) -> str:
    return f"{host} (id {node[:12]})" if host else ""


def _counted(count: int) -> str:
    return f"{count} preprocessing worker{'s are' if count > 1 else ' is'}"
