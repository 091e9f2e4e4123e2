"""Ray itself: an embedded one that is started, or a cluster that is there; and what it offers."""

import json
import logging
import os
import secrets
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import psutil
import ray
from ray._private.authentication.authentication_token_setup import (
    maybe_enable_token_auth_if_token_available,
)
from ray._private.node import Node as RayNode
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR
from ray.exceptions import RayError

from orchestrator.errors import ClusterError
from orchestrator.plan.placement import Node
from orchestrator.plan.resources import ClusterCapacity
from orchestrator.run.autoscaling import cluster_config, nodes_to_come
from orchestrator.run.local_clusters import as_client_of
from orchestrator.run.nodes import node_of
from orchestrator.spec.runtime import RuntimeSpec
from orchestrator.spec.variables import hidden_variables, open_variables

# Ray's defaults notice a dead worker after two seconds and move workers into a folder of Ray's. The
# start has no timeout of Ray's: a lack of room in the cluster is told and bounded by our own watch.
ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "86400",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}
_CONNECT_S = 5.0
_START_ERRORS = (RayError, ConnectionError, RuntimeError, ValueError, OSError)

# Ray counts declared CPUs. Readers, preprocessing and training must all get some even on a laptop
# with two cores, or they would wait for each other for ever.
LEAST_LOGICAL_CPUS = 8


def capacity_of(runtime: RuntimeSpec) -> ClusterCapacity:
    """What the cluster that the spec names offers; nothing is started for an embedded one.

    Raises:
        ClusterError: the cluster cannot be reached.
    """
    if runtime.address == "local":
        return _embedded_capacity(runtime)
    with environment_kept(), as_client_of(runtime.address):
        try:
            connect(runtime, log_to_driver=False, with_code=False)
            nodes: list[dict[str, object]] = ray.nodes()  # type: ignore[no-untyped-call] # of Ray's
            free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call] # of Ray's
            coming = nodes_to_come(cluster_config(), nodes)
        finally:
            ray.shutdown()
    return capacity_of_nodes(nodes, free, coming)


def capacity_of_nodes(
    nodes: Sequence[Mapping[str, object]],
    free: Mapping[str, float],
    coming: Sequence[Node] = (),
) -> ClusterCapacity:
    """The capacity of a cluster, from what `ray.nodes()` and `ray.available_resources()` say.

    Args:
        coming: nodes that its autoscaler starts once they are needed; nobody is on them.
    """
    alive = [
        node_of(
            cast("Mapping[str, float]", node["Resources"]),
            cast("Mapping[str, str]", node.get("Labels") or {}),
        )
        for node in nodes
        if node["Alive"]
    ]
    offered = (*alive, *coming)
    cpus = sum(node.cpus for node in offered)
    return ClusterCapacity(
        cpus=cpus,
        gpus=sum(node.gpus for node in offered),
        cores=max(1, int(cpus)),
        embedded=False,
        nodes=offered,
        free=Node(
            cpus=free.get("CPU", 0.0) + sum(node.cpus for node in coming),
            gpus=free.get("GPU", 0.0) + sum(node.gpus for node in coming),
        ),
    )


def collective_backend(*, gpus_per_worker: float) -> str:
    """gloo or nccl, by the device that a worker really gets: a GPU may be a mere declaration."""
    if gpus_per_worker <= 0:
        return "gloo"
    probe = ray.remote(_has_gpu).options(num_gpus=gpus_per_worker, num_cpus=0)
    return "nccl" if ray.get(probe.remote()) else "gloo"


def start_embedded(
    runtime: RuntimeSpec, capacity: ClusterCapacity, folder: Path, *, log_to_driver: bool
) -> None:
    """Starts a Ray of our own, whose files go into `folder`.

    Raises:
        ClusterError: it cannot be started.
    """
    _protect_token()
    try:
        with _few_processes():
            ray.init(
                address="local",
                num_cpus=int(capacity.cpus),
                num_gpus=int(capacity.gpus),
                object_store_memory=(
                    None if runtime.object_store == "auto" else runtime.object_store
                ),
                log_to_driver=log_to_driver,
                logging_level=logging.WARNING,
                _temp_dir=str(folder),
            )
    except _START_ERRORS as error:
        raise ClusterError(f"cannot start an embedded Ray: {error}") from error


def connect(runtime: RuntimeSpec, *, log_to_driver: bool, with_code: bool) -> None:
    """Connects to a cluster; `with_code` brings the working directory and our settings along.

    Raises:
        ClusterError: it cannot be reached.
    """
    if ray.is_initialized():
        raise ClusterError("this process is connected to Ray already")
    _check_reachable(runtime.address)
    # With an address Ray leaves its token at home; its own `ray start` calls this to use it.
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    try:
        ray.init(
            address=runtime.address,
            log_to_driver=log_to_driver,
            logging_level=logging.WARNING,
            runtime_env=code_environment(runtime, os.environ) if with_code else None,
        )
    except _START_ERRORS as error:
        raise ClusterError(
            f"runtime.address: no Ray cluster at {runtime.address}: {error}",
            hint="RAY_AUTH_TOKEN_PATH names the file with the token of a cluster that wants one",
        ) from error


def code_environment(runtime: RuntimeSpec, environ: Mapping[str, str]) -> dict[str, object]:
    """The runtime environment of the workers: our settings, and the directory of the user's code.

    What a job that was submitted has brought along already is left out: Ray refuses two answers.
    """
    brought = _brought_by_job(environ)
    theirs = brought.get("env_vars") or {}
    assert isinstance(theirs, Mapping)
    wanted = {name: environ[name] for name in ENVIRONMENT} | open_variables(runtime.env)
    environment: dict[str, object] = {
        "env_vars": {name: value for name, value in wanted.items() if name not in theirs}
    }
    if "working_dir" not in brought:
        environment["working_dir"] = runtime.working_dir
    if hidden := hidden_variables(runtime.env):
        # All who may talk to the cluster can read `env_vars`. Secrets travel as what a function
        # remembers, which each worker calls as it starts.
        def set_variables() -> None:
            os.environ.update(hidden)

        environment["worker_process_setup_hook"] = set_variables
    return environment


def in_job(environ: Mapping[str, str]) -> bool:
    """Whether this is a process of a job that was submitted to a cluster."""
    return RAY_JOB_CONFIG_JSON_ENV_VAR in environ


def _brought_by_job(environ: Mapping[str, str]) -> Mapping[str, object]:
    """The runtime environment that the job server has given to the job of this process."""
    config = json.loads(environ.get(RAY_JOB_CONFIG_JSON_ENV_VAR) or "{}")
    return cast("Mapping[str, object]", config.get("runtime_env") or {})


@contextmanager
def environment_kept() -> Iterator[None]:
    """Leaves the environment as it was: Ray writes settings of its own into it."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _few_processes() -> Iterator[None]:
    """Has a Ray that is started in this block do without two of its processes.

    One serves the dashboard, the other asks for more machines: a Ray of a single run has no use for
    them. Ray has no setting for it: without a dashboard it starts that process all the same, and
    waits for it (2.60).
    """
    left_out = {"start_api_server", "start_monitor"}
    starters = {name: getattr(RayNode, name) for name in left_out}
    for name in left_out:
        setattr(RayNode, name, lambda *_, **__: None)
    try:
        yield
    finally:
        for name, starter in starters.items():
            setattr(RayNode, name, starter)


def _protect_token() -> None:
    """Makes the file with Ray's token ours alone: whoever reads it can run any code in the cluster.

    Ray itself makes it readable for everybody.
    """
    if "RAY_AUTH_TOKEN" in os.environ:
        return
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if path.exists():
        path.chmod(0o600)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(secrets.token_hex(32))


def _check_reachable(address: str) -> None:
    """Ray itself would try for minutes, in silence, where nobody listens."""
    if address == "auto" or "://" in address:
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ClusterError(
            f'runtime.address: got "{address}", wanted "local", "auto", or a host and a port such'
            ' as "10.0.0.1:6379"'
        )
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except (OSError, UnicodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ClusterError(
            f"runtime.address: nothing answers at {address}: {reason}",
            hint="ray start --head prints the address of a cluster",
        ) from error


def _embedded_capacity(runtime: RuntimeSpec) -> ClusterCapacity:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1
    cpus = max(LEAST_LOGICAL_CPUS, cores) if runtime.cpus == "auto" else runtime.cpus
    return ClusterCapacity(
        cpus=cpus,
        gpus=_local_gpus(),
        cores=cores,
        embedded=True,
        memory_bytes=psutil.virtual_memory().total,
    )


def _local_gpus() -> int:
    """GPUs that Ray will find here, without asking a driver library for them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([part for part in visible.split(",") if part.strip() not in {"", "-1"}])
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def _has_gpu() -> bool:
    import torch  # by far the longest import, and only this needs it

    return bool(torch.cuda.is_available())
