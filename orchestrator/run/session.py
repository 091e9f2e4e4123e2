"""A Ray cluster for the length of a run: an embedded one, or one that is there already."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from orchestrator.errors import ClusterError
from orchestrator.plan.resources import ClusterCapacity
from orchestrator.run.cluster import ENVIRONMENT, connect, environment_kept, start_embedded
from orchestrator.run.guard import guarded
from orchestrator.run.local_clusters import as_client_of
from orchestrator.run.reap import (
    SESSION_VARIABLE,
    end_session,
    new_session,
    reap_leftovers,
    record_session,
)
from orchestrator.spec.runtime import RuntimeSpec


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
    session = new_session()
    try:
        record_session(session, run_dir)
        with (
            guarded(session, os.environ),
            environment_kept(),
            as_client_of(runtime.address),
        ):
            os.environ.update({**ENVIRONMENT, **os.environ, **runtime.env})
            os.environ[SESSION_VARIABLE] = session.mark
            try:
                if runtime.address == "local":
                    start_embedded(runtime, capacity, session.folder, log_to_driver=log_to_driver)
                else:
                    connect(runtime, log_to_driver=log_to_driver, with_code=True)
                yield
            finally:
                ray.shutdown()
    finally:
        end_session(session, run_dir)
