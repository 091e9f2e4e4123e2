"""A Ray cluster of several nodes on this machine, to which nodes come and from which they go.

Run as a process of its own: it prints what it has started, obeys the lines that it reads, and ends
the cluster when its standard input ends.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from ray._common.utils import get_default_ray_temp_dir
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2

from orchestrator.run.cluster import capacity_of
from orchestrator.spec.runtime import RuntimeSpec
from tests.support.busy_cluster import ENVIRONMENT as AUTHENTICATION
from tests.support.runs import members_of

# A dead node is noticed within two seconds, where Ray would take fifteen.
ENVIRONMENT = {
    **AUTHENTICATION,
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


class LocalCluster:
    """The cluster as a test sees it.

    Attributes:
        address: what `runtime.address` has to be.
        folder: where all its processes keep their logs and sockets.
        raylets: process numbers of the nodes' raylets, that of the head first.
    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        started = self._read()
        self.address = str(started["address"])
        self.folder = Path(str(started["folder"]))
        self.raylets = cast("list[int]", started["raylets"])

    def held_cpus(self) -> float:
        """How many of the nodes' CPUs somebody holds."""
        return float(str(self._ask("count")["held"]))

    def add_node(self, cpus: int) -> None:
        """Starts one more node; returns once the cluster has it."""
        self.raylets.append(int(str(self._ask(f"add {cpus}")["raylet"])))

    def drain(self, raylet: int, *, seconds: float) -> str:
        """Tells a node's workers that it will be taken away; it is not. Returns the node's number.

        Args:
            raylet: the process number of the node's raylet.
        """
        return str(self._ask(f"drain {raylet} {seconds}")["drained"])

    def _ask(self, line: str) -> dict[str, object]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, object]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the cluster has ended"
        return dict(json.loads(line))


@contextmanager
def local_cluster(*cpus: int) -> Iterator[LocalCluster]:
    """A cluster of nodes with so many logical CPUs, the head first; it is gone afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.clusters", *map(str, cpus)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **ENVIRONMENT},
    )
    folder = None
    try:
        cluster = LocalCluster(process)
        folder = cluster.folder
        yield cluster
    finally:
        process.communicate()
        # Ray does not know any more what belongs to a node that was killed.
        for left in members_of(folder) if folder else ():
            left.kill()


def main(head: int, *others: int) -> None:
    """Starts the cluster, says what there is, and waits."""
    # Short, as Ray puts sockets there, whose paths may have 100 characters.
    with tempfile.TemporaryDirectory(prefix="orc-nodes-", ignore_cleanup_errors=True) as folder:
        # Whatever the nodes' processes leave in a temporary folder goes along with the cluster.
        os.environ["TMPDIR"] = folder
        # Where Ray notes the newest cluster; with a folder of our own it does not make this one.
        Path(get_default_ray_temp_dir()).mkdir(exist_ok=True)
        cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": head, "temp_dir": folder, "include_dashboard": False},
        )
        nodes = [cluster.head_node, *(cluster.add_node(num_cpus=cpus) for cpus in others)]
        raylets = [_raylet(node) for node in nodes]
        _tell(address=cluster.address, folder=folder, raylets=raylets)
        while line := sys.stdin.readline():
            match line.split():
                case ["add", cpus]:
                    nodes.append(cluster.add_node(num_cpus=int(cpus)))
                    _tell(raylet=_raylet(nodes[-1]))
                case ["drain", raylet, seconds]:
                    (node,) = [node for node in nodes if _raylet(node) == int(raylet)]
                    _drain(cluster.address, node.node_id, float(seconds))
                    _tell(drained=node.node_id)
                case _:
                    capacity = capacity_of(RuntimeSpec(address=cluster.address))
                    assert capacity.free is not None
                    _tell(held=capacity.cpus - capacity.free.cpus)
        cluster.shutdown()


def _tell(**values: object) -> None:
    sys.stdout.write(f"{json.dumps(values)}\n")
    sys.stdout.flush()


def _drain(address: str, node: str, seconds: float) -> None:
    """As a cloud's notice does it, and `ray drain-node`."""
    reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    deadline_ms = int((time.time() + seconds) * 1000)
    accepted, why_not = GcsClient(address=address).drain_node(node, reason, "", deadline_ms)
    assert accepted, why_not


def _raylet(node: object) -> int:
    (raylet,) = node.all_processes["raylet"]  # type: ignore[attr-defined]
    return int(raylet.process.pid)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
