"""A development cluster on this machine: up, and down without a trace."""

import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace

from orchestrator.errors import ClusterError
from orchestrator.labels import PREPROCESSING, TRAINING
from orchestrator.provision.alone import LOCK_FILE, alone_with
from orchestrator.provision.autoscaling import autoscaler_config
from orchestrator.provision.launch import start_head, start_nodes
from orchestrator.provision.members import wait_for
from orchestrator.provision.registry import ClusterRecord, recorded
from orchestrator.provision.report import report_node_types
from orchestrator.provision.request import ClusterRequest
from orchestrator.run.local_clusters import clusters_folder, using_token
from orchestrator.run.reap import new_session, reap


def up(request: ClusterRequest, *, say: Callable[[str], None]) -> ClusterRecord:
    """Starts a cluster; one that cannot start whole is ended again.

    Returns:
        What runs; also where it has run before, as it was asked for.

    Raises:
        ClusterError: it cannot be started, or one of this name runs and was asked to be another.
    """
    with alone_with(request.name):
        there = recorded(request.name)
        if there is not None and there.is_up:
            return _as_asked(there, request)
        if there is not None:
            say(f'what a crash has left of the cluster "{request.name}" is ended')
            _end(there)
        record = _new_record(request)
        record.write()
        try:
            return _start(record, request, say)
        except BaseException:
            _end(record, keep_logs=True)
            raise


def down(name: str) -> ClusterRecord | None:
    """Ends every process of a cluster, also of one that has crashed, and forgets it.

    Returns:
        What it was, None where nothing was recorded of such a cluster.
    """
    with alone_with(name):
        record = recorded(name)
        if record is not None:
            _end(record)
        return record


def initial_roles(request: ClusterRequest) -> Sequence[str]:
    """The roles of the nodes that come up with the head; an autoscaler starts its own."""
    if request.autoscale:
        return ()
    return (*[PREPROCESSING] * request.cpu_nodes.least, *[TRAINING] * request.gpu_nodes.least)


def _as_asked(record: ClusterRecord, request: ClusterRequest) -> ClusterRecord:
    asked = ClusterRequest.from_record(record.request)
    if asked != request:
        raise ClusterError(
            f'a cluster "{record.name}" runs already, with {asked}; asked for were {request}',
            hint=f"orchestrator cluster down --name {record.name} ends it; --name OTHER starts"
            " another beside it",
        )
    return record


def _new_record(request: ClusterRequest) -> ClusterRecord:
    session = new_session()
    record = ClusterRecord(
        name=request.name,
        folder=clusters_folder() / request.name,
        mark=session.mark,
        session=session.folder,
        request=request.as_record(),
    )
    shutil.rmtree(record.folder / "nodes", ignore_errors=True)
    flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    with os.fdopen(os.open(record.token_file, flags, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    return record


def _start(
    record: ClusterRecord, request: ClusterRequest, say: Callable[[str], None]
) -> ClusterRecord:
    say("starting the head")
    head = start_head(record, request)
    started = replace(record, address=head.address, dashboard=head.dashboard)
    if request.autoscale:
        with using_token(record.token_file):
            config = autoscaler_config(request, address=head.address)
            report_node_types(config, address=head.address)
    roles = initial_roles(request)
    if roles:
        say(f"starting {len(roles)} nodes")
        start_nodes(started, roles, request)
    # An autoscaler starts the least that it may have by itself.
    wait_for(started, 1 + request.cpu_nodes.least + request.gpu_nodes.least)
    # Only now: whoever finds it can use it.
    started.write()
    return started


def _end(record: ClusterRecord, *, keep_logs: bool = False) -> None:
    reap(record.processes)
    if keep_logs:
        (record.folder / "cluster.json").unlink(missing_ok=True)
        record.token_file.unlink(missing_ok=True)
    else:
        # The lock stays: another command may be waiting for it.
        for path in record.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != LOCK_FILE:
                path.unlink(missing_ok=True)
