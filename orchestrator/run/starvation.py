"""Workers that find no place in the cluster: seen in seconds, and told with the cause."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import ray
from ray._private import state as cluster_state
from ray.util import placement_group_table

from orchestrator.data.pools import PoolWorker, pool_workers
from orchestrator.data.reader import ShareStage
from orchestrator.errors import ClusterError
from orchestrator.plan.job import JobPlan
from orchestrator.units import format_duration

LOOK_EVERY_S = 1.0
# What Ray calls a group of workers that has no place, now or ever.
_NO_PLACE = frozenset({"NO_RESOURCES", "INFEASIBLE"})
# Ray counts in ten-thousandths; sums of fractions are off by less.
_ROUNDING = 1e-6
# Long enough for what is placed at once and only has to start.
TELL_AFTER_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """What waits for a place: `count` workers of a kind, each of so many CPUs and GPUs.

    `together` is true where they are placed all or none, and Ray itself says that they cannot be;
    others may have a place already and only be starting.
    """

    what: str
    count: int
    cpus: float
    gpus: float
    together: bool = False


class StarvationWatch:
    """Tells when workers have waited for a place for some seconds, and ends the wait at a limit.

    Ray itself waits for ever, or for its own timeouts, without a word.

    Args:
        look: what waits for want of resources, in words; None where nothing does.
        tell: called once for each shortage.
        limit_s: seconds of one shortage after which the run ends.
    """

    def __init__(
        self,
        look: Callable[[], str | None],
        tell: Callable[[str], None],
        *,
        limit_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._tell = tell
        self._limit_s = limit_s
        self._clock = clock
        self._looked_at = -LOOK_EVERY_S
        self._since: float | None = None
        self._told = False

    def check(self) -> None:
        """Called several times a second.

        Raises:
            ClusterError: the shortage has lasted for the limit.
        """
        now = self._clock()
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        shortage = self._look()
        if shortage is None:
            self._since, self._told = None, False
            return
        self._since = now if self._since is None else self._since
        waited = now - self._since
        if waited >= self._limit_s:
            raise ClusterError(
                f"{shortage}, for {format_duration(waited)}",
                hint="wait for the others' end, add nodes, or ask for less under `scaling`;"
                " failure.starvation_timeout says how long to wait",
            )
        if waited >= TELL_AFTER_S and not self._told:
            self._told = True
            self._tell(shortage)


def find_shortage(plan: JobPlan) -> str | None:
    """What of this job waits for a place in the cluster that is too full for it, in words."""
    groups = [
        list(group["bundles"].values())
        for group in placement_group_table().values()
        if group["state"] == "PENDING" and group["stats"]["scheduling_state"] in _NO_PLACE
    ]
    waiting = [*_training(plan, groups), *_preprocessing(plan, pool_workers())]
    free = cluster_state.available_resources_per_node()  # type: ignore[no-untyped-call] # of Ray's
    total = ray.cluster_resources()  # type: ignore[no-untyped-call] # of Ray's
    return describe_shortage(waiting, list(free.values()), total)


def describe_shortage(
    waiting: Sequence[Waiting],
    free: Sequence[Mapping[str, float]],
    total: Mapping[str, float],
) -> str | None:
    """The shortage in words; None where whatever waits has a node to go to, and only has to start.

    Args:
        free: what each node has left.
        total: what the cluster has.
    """
    stuck = [
        kind for kind in waiting if kind.together or not any(_fits(kind, node) for node in free)
    ]
    if not stuck:
        return None
    wanted = " and ".join(
        f"{kind.count} {kind.what} ({_amounts({'CPU': kind.cpus, 'GPU': kind.gpus})} each)"
        for kind in stuck
    )
    names = ["CPU", "GPU"] if any(kind.gpus for kind in stuck) else ["CPU"]
    left = ", ".join(
        f"{sum(node.get(name, 0.0) for node in free):g} of {total.get(name, 0.0):g} {name}s"
        for name in names
    )
    nodes = f" on {len(free)} nodes" if len(free) > 1 else ""
    return f"no place in the cluster for {wanted}: {left}{nodes} are free"


def _training(plan: JobPlan, groups: Sequence[Sequence[Mapping[str, float]]]) -> list[Waiting]:
    scaling = plan.spec.scaling
    own = {"CPU": scaling.cpus_per_worker, "GPU": scaling.gpus_per_worker}
    wanted = {name: amount for name, amount in own.items() if amount}
    # A cluster's table holds the groups of all its jobs, without their names: ours look like this.
    if not any(
        len(bundles) == plan.workers and all(dict(bundle) == wanted for bundle in bundles)
        for bundles in groups
    ):
        return []
    return [
        Waiting(
            what="training workers" if plan.workers > 1 else "training worker",
            count=plan.workers,
            cpus=scaling.cpus_per_worker,
            gpus=scaling.gpus_per_worker,
            together=True,
        )
    ]


def _preprocessing(plan: JobPlan, workers: Sequence[PoolWorker]) -> list[Waiting]:
    states: dict[str, list[str]] = {}
    for worker in workers:
        # The one that shares out superblocks asks for so little that it has a place anywhere.
        if ShareStage.__name__ not in worker.pool:
            states.setdefault(worker.pool, []).append(worker.state)
    # A pool of which one worker is alive goes on, if slowly.
    count = sum(pool.count("PENDING_CREATION") for pool in states.values() if "ALIVE" not in pool)
    if not count:
        return []
    streams = [plan.train, *([plan.validation] if plan.validation else [])]
    stages = [stage for stream in streams for stage in stream.stages]
    # The smallest: where even that one has no place, none has.
    least = min(stages, key=lambda stage: (stage.gpus, stage.cpus))
    what = "preprocessing workers" if count > 1 else "preprocessing worker"
    return [Waiting(what=what, count=count, cpus=least.cpus, gpus=least.gpus)]


def _fits(kind: Waiting, node: Mapping[str, float]) -> bool:
    cpus, gpus = node.get("CPU", 0.0) + _ROUNDING, node.get("GPU", 0.0) + _ROUNDING
    return cpus >= kind.cpus and gpus >= kind.gpus


def _amounts(amounts: Mapping[str, float]) -> str:
    return " and ".join(
        f"{amount:g} {name}" + "s" * (amount != 1) for name, amount in amounts.items() if amount
    )
