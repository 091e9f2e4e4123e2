"""Starts the processes that hold the nodes of a development cluster."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

from orchestrator.errors import ClusterError
from orchestrator.labels import HEAD, ROLE, TRAINING
from orchestrator.provision.autoscaling import autoscaler_config
from orchestrator.provision.node import LOOPBACK, NodeOrder, NodeStarted
from orchestrator.provision.registry import ClusterRecord
from orchestrator.provision.request import OBJECT_STORE_BYTES, ClusterRequest
from orchestrator.run.local_clusters import LOOPBACK_ONLY, TOKEN_VARIABLES
from orchestrator.run.reap import SESSION_VARIABLE
from orchestrator.train.device import LOGICAL_GPUS

# Ten processes import Ray on what may be two cores.
_START_S = 120.0
_LOOK_EVERY_S = 0.1
_TAIL_LINES = 5

# A dead node is noticed within two seconds, where Ray would take fifteen.
_ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    **LOOPBACK_ONLY,
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_DASHBOARD_REDACT_RUNTIME_ENV": "1",
    LOGICAL_GPUS: "1",
}
_AUTOSCALING = {"RAY_enable_autoscaler_v2": "1", "RAY_FAKE_CLUSTER": "1"}
# By these the autoscaler's provider knows the head, which it has not started itself.
_HEAD = {
    "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
}
_NOT_PASSED_ON = (*TOKEN_VARIABLES, "RAY_ADDRESS", "RAY_TMPDIR", *_HEAD)


def _free_ports(count: int) -> Sequence[int]:
    """So many different ports of loopback that nobody listens on just now."""
    listeners = [socket.create_server((LOOPBACK, 0)) for _ in range(count)]
    ports = [int(listener.getsockname()[1]) for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def start_head(record: ClusterRecord, request: ClusterRequest) -> NodeStarted:
    """Starts the head, and the autoscaler where one is asked for.

    Raises:
        ClusterError: it does not start.
    """
    gcs_port, dashboard_port, metrics_port = _free_ports(3)
    autoscaling = record.folder / "autoscaler.yaml"
    if request.autoscale:
        autoscaling.write_text(autoscaler_config(request, address=f"{LOOPBACK}:{gcs_port}"))
    order = NodeOrder(
        cpus=request.head_cpus,
        gpus=0,
        labels={ROLE: HEAD},
        object_store_bytes=OBJECT_STORE_BYTES,
        session=str(record.session),
        started=str(_new_file(record)),
        gcs_port=gcs_port,
        dashboard_port=dashboard_port,
        autoscaling=str(autoscaling) if request.autoscale else "",
    )
    # Ray's fixed port for the autoscaler's metrics would do for one cluster only.
    port = {"AUTOSCALER_METRIC_PORT": str(metrics_port)}
    added = {**_AUTOSCALING, **_HEAD, **port} if request.autoscale else {}
    return _start(record, order, added)


def start_nodes(
    record: ClusterRecord, roles: Sequence[str], request: ClusterRequest
) -> Sequence[NodeStarted]:
    """Starts nodes of the given roles; a training node has one logical GPU.

    Raises:
        ClusterError: one does not start.
    """
    orders = [
        NodeOrder(
            cpus=request.cpus_per_node,
            gpus=int(role == TRAINING),
            labels={ROLE: role},
            object_store_bytes=OBJECT_STORE_BYTES,
            session=str(record.session),
            started=str(_new_file(record)),
            address=record.address,
        )
        for role in roles
    ]
    # One after the other: two that start at once take the same socket (Ray 2.60).
    return [_start(record, order, {}) for order in orders]


def environment_of(record: ClusterRecord) -> Mapping[str, str]:
    """The environment of everything in the cluster."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
    return {
        **kept,
        **_ENVIRONMENT,
        "RAY_AUTH_TOKEN_PATH": str(record.token_file),
        # Whatever Ray leaves in a temporary folder goes along with the cluster.
        "TMPDIR": str(record.session),
        SESSION_VARIABLE: record.mark,
    }


def _new_file(record: ClusterRecord) -> Path:
    folder = record.folder / "nodes"
    folder.mkdir(exist_ok=True, mode=0o700)
    number = len(list(folder.glob("*.order"))) + 1
    while True:
        path = folder / f"{number:03d}"
        try:
            path.with_suffix(".order").touch(exist_ok=False)
        except FileExistsError:
            number += 1
            continue
        return path.with_suffix(".json")


def _start(record: ClusterRecord, order: NodeOrder, added: Mapping[str, str]) -> NodeStarted:
    return _started(_spawn(record, order, added), Path(order.started))


def _spawn(
    record: ClusterRecord, order: NodeOrder, added: Mapping[str, str]
) -> "subprocess.Popen[str]":
    with Path(order.started).with_suffix(".log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.provision.node"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            text=True,
            env={**environment_of(record), **added},
            # It outlives this command, and its Ctrl-C.
            start_new_session=True,
        )
    assert process.stdin is not None
    with process.stdin as stdin:
        stdin.write(order.to_json())
    return process


def _started(process: "subprocess.Popen[str]", file: Path) -> NodeStarted:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        if file.exists():
            return NodeStarted(**json.loads(file.read_text()))
        if process.poll() is not None:
            raise ClusterError(
                f"a node of the cluster did not start: {_last_lines(file.with_suffix('.log'))}"
            )
        time.sleep(_LOOK_EVERY_S)
    raise ClusterError(
        f"a node of the cluster has not started within {_START_S:.0f} s:"
        f" {_last_lines(file.with_suffix('.log'))}",
        hint="a machine that is busy with other work may need longer; fewer nodes need less",
    )


def _last_lines(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return " / ".join(lines[-_TAIL_LINES:]) or "it printed nothing"
