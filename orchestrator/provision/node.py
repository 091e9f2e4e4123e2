"""The process that holds one Ray node of a development cluster: starts it, and ends with it.

Ray's own `ray start` refuses to be bound to loopback: it replaces 127.0.0.1 by the host's own
address (Ray 2.60). So the node is made by the class that `ray start` uses itself. Run as a process,
it reads what to start as JSON from its standard input, writes what it has started into a file, and
holds the node until a signal.
"""

import json
import os
import signal
import sys
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from ray._private.node import Node as RayNode
from ray._private.parameter import RayParams

from orchestrator.provision.provider import code_folder

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeOrder:
    """What one such process is to start; a head where there is no address of one.

    Attributes:
        started: the file in which it says that, and what, it has started.
        autoscaling: Ray's configuration of the autoscaler, a file; of a head only.
    """

    cpus: int
    gpus: int
    labels: dict[str, str]
    object_store_bytes: int
    session: str
    started: str
    gcs_port: int = 0
    dashboard_port: int = 0
    address: str = ""
    autoscaling: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeStarted:
    """What one such process has started."""

    node_id: str
    address: str
    dashboard: str
    raylet: int
    pid: int = field(default_factory=os.getpid)


def start(order: NodeOrder) -> RayNode:
    """Starts the processes of a node; they die with this process."""
    parameters: dict[str, object] = {
        "node_ip_address": LOOPBACK,
        "num_cpus": order.cpus,
        "num_gpus": order.gpus,
        "labels": order.labels,
        "object_store_memory": order.object_store_bytes,
        "min_worker_port": 0,
        "max_worker_port": 0,
        "node_manager_port": 0,
        "object_manager_port": 0,
        "dashboard_agent_listen_port": 0,
    }
    if order.address:
        parameters |= {
            "gcs_address": order.address,
            "redis_address": order.address,
            "include_log_monitor": False,
            # Not of the head: drivers look for Ray's own name there.
            "runtime_env_dir_name": code_folder(),
        }
    else:
        parameters |= {
            "temp_dir": order.session,
            "gcs_server_port": order.gcs_port,
            "include_dashboard": True,
            "dashboard_host": LOOPBACK,
            "dashboard_port": order.dashboard_port,
            "autoscaling_config": order.autoscaling or None,
            "no_monitor": not order.autoscaling,
        }
    return RayNode(
        RayParams(**parameters),  # type: ignore[arg-type] # more than its types say
        head=not order.address,
        shutdown_at_exit=False,
        spawn_reaper=True,
    )


def main() -> None:
    """Starts a node, says so, and holds it until a signal."""
    order = NodeOrder.from_json(sys.stdin.read())
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    node = start(order)
    told = NodeStarted(
        node_id=node.node_id,
        address=node.gcs_address,
        dashboard=f"http://{node.webui_url}" if node.webui_url else "",
        raylet=node.all_processes["raylet"][0].process.pid,
    )
    staged = Path(f"{order.started}.tmp")
    staged.write_text(json.dumps(asdict(told)))
    staged.replace(order.started)
    # A node whose raylet has died is no node any more: its other processes end with it.
    while not ended.wait(0.5):
        if node.dead_processes():  # type: ignore[no-untyped-call] # of Ray's
            break
    node.kill_all_processes(check_alive=False, allow_graceful=True)


if __name__ == "__main__":
    main()
