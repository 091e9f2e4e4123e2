"""One driver at a time for a run."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.checkpoint.files import storage_errors
from orchestrator.errors import JobFailedError

LOCK_FILE = "driver.lock"


@contextmanager
def run_lock(run_dir: Path) -> Iterator[None]:
    """Holds the run; the system lets go of it when this process ends, however it ends.

    Raises:
        JobFailedError: another driver is at work on the run.
    """
    path = run_dir / LOCK_FILE
    with storage_errors("open", path):
        file = path.open("a+")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise JobFailedError(
                f"the run in {run_dir} is being trained already, by {file.read().strip()}",
                hint="wait for its end, end it, or give this job another name with --name",
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
