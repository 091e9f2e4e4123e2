"""A Ray cluster of one node, some CPUs of which are held by somebody else.

Run as a process of its own: it prints the cluster's address, gives the CPUs back when it reads a
line, and ends the cluster when its standard input ends.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import ray

ENVIRONMENT = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}


class BusyCluster:
    """The cluster as a test sees it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self._process = process
        self.address = process.stdout.readline().strip()

    def give_back(self) -> None:
        """Lets go of the CPUs that are held."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()


@contextmanager
def busy_cluster(*, cpus: int, held: int) -> Iterator[BusyCluster]:
    """A cluster of `cpus` CPUs, of which `held` are taken."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.busy_cluster", str(cpus), str(held)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **ENVIRONMENT},
    )
    try:
        yield BusyCluster(process)
    finally:
        process.communicate()


def main(cpus: int, held: int) -> None:
    """Starts the cluster, holds the CPUs, and waits."""
    with tempfile.TemporaryDirectory(prefix="orc-busy-") as folder:
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            log_to_driver=False,
            _temp_dir=folder,
        )
        holder = ray.remote(_Holder).options(num_cpus=held).remote()
        ray.get(holder.there.remote())
        sys.stdout.write(f"{ray.get_runtime_context().gcs_address}\n")
        sys.stdout.flush()
        if sys.stdin.readline():
            ray.kill(holder)
            sys.stdin.readline()
        ray.shutdown()


class _Holder:
    def there(self) -> bool:
        return True


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
