"""A Ray cluster for the length of a run: an embedded one, or one that is there already."""

import json
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import ray
import torch
from ray._private.authentication.authentication_token_setup import (
    maybe_enable_token_auth_if_token_available,
)
from ray.exceptions import RayError

from orchestrator.errors import ClusterError
from orchestrator.plan.resources import ClusterCapacity
from orchestrator.spec.runtime import RuntimeSpec

_log = logging.getLogger(__name__)

# In the environment of everything that a session starts: whatever bears it after the driver's end
# is left over, and unlike a recorded process number it can never be somebody else's.
SESSION_VARIABLE = "ORCHESTRATOR_SESSION"
SESSION_FILE = "session.json"

# Ray's defaults notice a dead worker after two seconds and move workers into a folder of Ray's.
_ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "60",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}
_REAP_GRACE_S = 5.0
_CONNECT_S = 5.0
_START_ERRORS = (RayError, ConnectionError, RuntimeError, ValueError, OSError)

# Ray counts declared CPUs. Readers, preprocessing and training must all get some even on a laptop
# with two cores, or they would wait for each other for ever.
LEAST_LOGICAL_CPUS = 8


@contextmanager
def ray_session(
    runtime: RuntimeSpec, capacity: ClusterCapacity, *, run_dir: Path, log_to_driver: bool
) -> Iterator[None]:
    """Ray, connected; an embedded cluster is gone afterwards, with all of its processes.

    Raises:
        ClusterError: it cannot be started or reached.
    """
    if ray.is_initialized():
        raise ClusterError(
            "this process is connected to Ray already",
            hint="ray.shutdown() first, or run the job in a process of its own",
        )
    reap_leftovers(run_dir)
    session = uuid.uuid4().hex
    # Short, and not below the run: Ray puts sockets there, whose paths may have 100 characters.
    folder = Path(tempfile.mkdtemp(prefix="orc-"))
    record = run_dir / SESSION_FILE
    environment = dict(os.environ)
    try:
        record.write_text(json.dumps({"session": session, "folder": str(folder)}))
        os.environ.update({**_ENVIRONMENT, **environment, SESSION_VARIABLE: session})
        if runtime.address == "local":
            _start(runtime, capacity, folder, log_to_driver=log_to_driver)
        else:
            _connect(runtime, log_to_driver=log_to_driver, with_code=True)
        yield
    finally:
        ray.shutdown()
        _restore(environment)
        _reap(session, folder)
        shutil.rmtree(folder, ignore_errors=True)
        record.unlink(missing_ok=True)


def capacity_of(runtime: RuntimeSpec) -> ClusterCapacity:
    """What the cluster that the spec names offers; nothing is started for an embedded one.

    Raises:
        ClusterError: the cluster cannot be reached.
    """
    if runtime.address == "local":
        return _embedded_capacity(runtime)
    environment = dict(os.environ)
    try:
        _connect(runtime, log_to_driver=False, with_code=False)
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    finally:
        ray.shutdown()
        _restore(environment)
    cpus = float(resources.get("CPU", 0.0))
    gpus = float(resources.get("GPU", 0.0))
    return ClusterCapacity(cpus=cpus, gpus=gpus, cores=max(1, int(cpus)), embedded=False)


def collective_backend(*, gpus_per_worker: float) -> str:
    """gloo or nccl, by the device that a worker really gets: a GPU may be a mere declaration."""
    if gpus_per_worker <= 0:
        return "gloo"
    probe = ray.remote(_has_gpu).options(num_gpus=gpus_per_worker, num_cpus=0)
    return "nccl" if ray.get(probe.remote()) else "gloo"


def reap_leftovers(run_dir: Path) -> None:
    """Ends what an earlier driver of this run on this machine left behind when it was killed.

    The caller holds the run's lock, so that no earlier driver can be alive.
    """
    record = run_dir / SESSION_FILE
    if not record.exists():
        return
    try:
        left = json.loads(record.read_text())
        session, folder = str(left["session"]), Path(left["folder"])
    except (ValueError, KeyError, TypeError) as error:
        _log.warning("%s is damaged, nothing is reaped: %s", record, error)
    else:
        _reap(session, folder)
        if folder.name.startswith("orc-"):
            shutil.rmtree(folder, ignore_errors=True)
    record.unlink(missing_ok=True)


def _start(
    runtime: RuntimeSpec, capacity: ClusterCapacity, folder: Path, *, log_to_driver: bool
) -> None:
    _protect_token()
    try:
        ray.init(
            address="local",
            num_cpus=int(capacity.cpus),
            num_gpus=int(capacity.gpus),
            object_store_memory=None if runtime.object_store == "auto" else runtime.object_store,
            include_dashboard=False,
            log_to_driver=log_to_driver,
            logging_level=logging.WARNING,
            _temp_dir=str(folder),
        )
    except _START_ERRORS as error:
        raise ClusterError(f"cannot start an embedded Ray: {error}") from error


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


def _connect(runtime: RuntimeSpec, *, log_to_driver: bool, with_code: bool) -> None:
    """Connects to a cluster; `with_code` brings the working directory and our settings along."""
    if ray.is_initialized():
        raise ClusterError("this process is connected to Ray already")
    _check_reachable(runtime.address)
    # With an address Ray leaves its token at home; its own `ray start` calls this to use it.
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    environment: dict[str, object] | None = None
    if with_code:
        variables = {name: os.environ[name] for name in _ENVIRONMENT}
        environment = {"env_vars": variables, "working_dir": runtime.working_dir}
    try:
        ray.init(
            address=runtime.address,
            log_to_driver=log_to_driver,
            logging_level=logging.WARNING,
            runtime_env=environment,
        )
    except _START_ERRORS as error:
        raise ClusterError(
            f"cannot reach a Ray cluster at {runtime.address}: {error}",
            hint="RAY_AUTH_TOKEN_PATH names the file with the token of a cluster that wants one",
        ) from error


def _check_reachable(address: str) -> None:
    """Ray itself would try for minutes, in silence, where nobody listens."""
    host, colon, port = address.rpartition(":")
    if "://" in address or not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise ClusterError(
            f"nothing answers at runtime.address {address}: {error}",
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


def _restore(environment: dict[str, str]) -> None:
    """Leaves the environment as it was: Ray writes settings of its own into it."""
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)


def _has_gpu() -> bool:
    return bool(torch.cuda.is_available())


def _reap(session: str, folder: Path) -> None:
    """Ends every process of a session, politely first."""
    for process in _members(session, folder):
        _signal(process, signal.SIGTERM)
    _, stubborn = psutil.wait_procs(_members(session, folder), timeout=_REAP_GRACE_S)
    for process in stubborn:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(stubborn, timeout=_REAP_GRACE_S)


def _members(session: str, folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and _is_member(process, session, folder):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def _is_member(process: psutil.Process, session: str, folder: Path) -> bool:
    if environment := process.environ():
        return environment.get(SESSION_VARIABLE) == session
    # Ray's agents write their title over their environment; their logs give them away.
    return any(file.path.startswith(f"{folder}/") for file in process.open_files())


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
