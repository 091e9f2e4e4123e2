"""A Ray of a benchmark's own, as a run would start it."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from benchmarks.harness.repeat import ROOT
from benchmarks.harness.store import WATCHED
from orchestrator.plan.resources import ClusterCapacity
from orchestrator.run.cluster import ENVIRONMENT, capacity_of, start_embedded
from orchestrator.spec.runtime import RuntimeSpec


@contextmanager
def own_ray(
    *, cpus: int = 8, store_bytes: int | None = None, watched: bool = False
) -> Iterator[ClusterCapacity]:
    """Starts it, and ends it after the block; gives what it offers.

    Args:
        cpus: logical ones, so that on few cores no part of a stream waits for a CPU.
        store_bytes: of the object store; None leaves it to Ray.
        watched: for a `StoreWatch`.
    """
    runtime = RuntimeSpec(cpus=cpus, object_store=store_bytes or "auto", working_dir=str(ROOT))
    capacity = capacity_of(runtime)
    os.environ.update({**ENVIRONMENT, **(WATCHED if watched else {}), **os.environ})
    with tempfile.TemporaryDirectory(prefix="ob") as folder:
        start_embedded(runtime, capacity, Path(folder), log_to_driver=False)
        try:
            yield capacity
        finally:
            ray.shutdown()
