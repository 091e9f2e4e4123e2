"""One embedded Ray for the tests of a module."""

from collections.abc import Iterator

import pytest

from orchestrator.plan.resources import ClusterCapacity
from orchestrator.run.session import ray_session
from orchestrator.spec.runtime import RuntimeSpec


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ray with 8 logical CPUs, started and ended as a run does it."""
    capacity = ClusterCapacity(cpus=8, gpus=0, cores=2, embedded=True)
    folder = tmp_path_factory.mktemp("session")
    with ray_session(RuntimeSpec(), capacity, run_dir=folder, log_to_driver=False):
        yield
