"""One command at a time changes a development cluster."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.errors import ClusterError
from orchestrator.run.local_clusters import clusters_folder

LOCK_FILE = ".lock"


@contextmanager
def alone_with(name: str) -> Iterator[None]:
    """Keeps other commands from changing the same cluster meanwhile.

    Raises:
        ClusterError: one is doing so.
    """
    folder = clusters_folder() / name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with Path(folder / LOCK_FILE).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError(
                f'another command is changing the cluster "{name}"',
                hint="try again once it is done; orchestrator cluster status tells what is there",
            ) from None
        yield
