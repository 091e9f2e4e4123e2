"""Ways to end what a run consists of: SIGKILL, from outside, in the middle of its work.

Only processes of one session folder are touched: that of a run's embedded Ray, or of a cluster that
the test has started. Each fault waits until it has happened, and returns what it ended.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.clusters import LocalCluster
from tests.support.runs import Driver, members_of, title_of

# What Ray calls the actors in question.
RANK, MAP_WORKER, COORDINATOR = "RayTrainWorker", "MapWorker", "SplitCoordinator"
# What Ray runs without any job: on each node, and, once there has been a job, in the cluster. A
# cleaner stays behind because it asks a dashboard, which our clusters lack, whether it may go.
_LASTING = (
    "DashboardAgent",
    "RuntimeEnvAgent",
    "IDLE",
    "StatsActor",
    "UsageCollectionActor",
    "AutoscalingCoordinatorActor",
    "ActorLocationTracker",
    "PlacementGroupCleaner",
)
_DEATH_LIMIT_S, _IDLE_LIMIT_S = 10.0, 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Killed:
    """What a fault ended: one line of text, and the processes by number and title."""

    what: str
    processes: dict[int, str]

    def __str__(self) -> str:
        first, *others = self.processes
        return f"{self.what} ({f'{len(others) + 1} processes' if others else f'process {first}'})"


def kill_rank(session: Path) -> Killed:
    """Ends one training worker."""
    return _kill("rank", actors(session, RANK)[-1:])


def kill_map_worker(session: Path) -> Killed:
    """Ends one preprocessing worker."""
    return _kill("map actor", actors(session, MAP_WORKER)[-1:])


def kill_coordinator(session: Path) -> Killed:
    """Ends the actors that hand out the blocks, one for each stream."""
    return _kill("coordinator", actors(session, COORDINATOR))


def kill_node(cluster: LocalCluster, *, hosting: str, sparing: str | None = None) -> Killed:
    """Ends a node, never the head, with everything that runs on it.

    Args:
        hosting: of what it has to run most.
        sparing: what it must not run.
    """
    return _kill("node", _node(cluster, hosting=hosting, sparing=sparing))


def drain_node(cluster: LocalCluster, *, hosting: str, seconds: float) -> int:
    """Has a node, never the head, announced as going; returns its raylet's process number."""
    raylet = _node(cluster, hosting=hosting)[0].pid
    cluster.drain(raylet, seconds=seconds)
    return raylet


def kill_raylet_tree(raylet: int) -> Killed:
    """Ends a node by its raylet's process number."""
    node = psutil.Process(raylet)
    return _kill("node", [node, *node.children(recursive=True)])


def kill_driver(driver: Driver) -> Killed:
    """Ends a driver, not what Ray runs for it."""
    killed = Killed(what="driver", processes={driver.process.pid: "driver"})
    driver.process.kill()
    driver.process.wait()
    return killed


def actors(session: Path, name: str) -> list[psutil.Process]:
    """The processes of a session that are actors of a kind, the oldest first."""
    found = [process for process in members_of(session) if f"ray::{name}" in title_of(process)]
    return sorted(found, key=lambda process: process.pid)


def wait_until_idle(cluster: LocalCluster) -> None:
    """Waits until a cluster runs nothing of any job, and has all its CPUs to give."""
    deadline = time.monotonic() + _IDLE_LIMIT_S
    while left := [title for title in map(title_of, members_of(cluster.folder)) if _is_work(title)]:
        assert time.monotonic() < deadline, f"left over: {left}"
        time.sleep(0.1)
    assert cluster.held_cpus() == 0


def _node(
    cluster: LocalCluster, *, hosting: str, sparing: str | None = None
) -> list[psutil.Process]:
    """The processes of a node, its raylet first."""
    nodes = [psutil.Process(pid) for pid in cluster.raylets[1:] if psutil.pid_exists(pid)]
    trees = [[node, *node.children(recursive=True)] for node in nodes]
    fitting = [tree for tree in trees if sparing is None or not _count(tree, sparing)]
    chosen = max(fitting, key=lambda tree: _count(tree, hosting), default=[])
    assert _count(chosen, hosting), f"no node that has a {hosting} and no {sparing}"
    return chosen


def _count(processes: Sequence[psutil.Process], name: str) -> int:
    return sum(name in title_of(process) for process in processes)


def _is_work(title: str) -> bool:
    return title.startswith("ray::") and not any(name in title for name in _LASTING)


def _kill(what: str, processes: Sequence[psutil.Process]) -> Killed:
    assert processes, f"no {what} to kill"
    titles = {process.pid: title_of(process) for process in processes}
    # All at once as far as that goes: no raylet is to see its workers die before it does itself.
    for process in processes:
        process.kill()
    deadline = time.monotonic() + _DEATH_LIMIT_S
    while alive := [process for process in processes if _runs(process)]:
        assert time.monotonic() < deadline, f"still there: {alive}"
        time.sleep(0.01)
    return Killed(what=what, processes=titles)


def _runs(process: psutil.Process) -> bool:
    try:
        # A zombie waits for its parent to take notice; it does nothing any more.
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
