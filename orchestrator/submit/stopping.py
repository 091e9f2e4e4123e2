"""Ends a job, or any run: at a checkpoint, or at once."""

import os
import signal
import time
from collections.abc import Callable

from orchestrator.errors import ClusterError, JobFailedError
from orchestrator.run.directory import RunDirectory
from orchestrator.run.holder import Holder, parse_lease, read_lease, this_process
from orchestrator.run.stopping import request_end
from orchestrator.submit.lookup import Found

LIMIT_S = 180.0
"""For how long a checkpoint is waited for; a driver itself gives up after two minutes."""
_KILLED_S = 30.0
_LOOK_EVERY_S = 0.3
Say = Callable[[str], None]


def stop_in_order(found: Found, *, say: Say, limit_s: float = LIMIT_S) -> None:
    """Has a run write a last checkpoint and end; then its job ends too.

    Raises:
        JobFailedError: it has not ended in time, and there is no job that could be killed.
        ClusterError: the run's storage is not to be seen from here, nor asked on the cluster.
    """
    if found.directory is None:
        if found.job is not None and found.job.word == "pending":
            stop_now(found, say=say)  # nothing of it runs
        else:
            _ask_on_cluster(found, say=say, limit_s=limit_s)
    elif not _asked_and_ended(found, found.directory, say=say, limit_s=limit_s):
        if found.job is None:
            raise JobFailedError(
                f"the run in {found.directory.path} has not ended within {limit_s:.0f} s",
                hint="orchestrator stop --now ends it without a checkpoint",
            )
        say(f"no end within {limit_s:.0f} s: the job is killed")
    if found.job is not None and _open(found):
        stop_now(found, say=say)


def stop_now(found: Found, *, say: Say) -> None:
    """Ends a run without a checkpoint.

    Raises:
        ClusterError: the job does not end.
        JobFailedError: the run is at work on another machine, and no job of a cluster.
    """
    if found.job is None or found.client is None:
        _kill_here(found)
        return
    found.client.kill(found.job.job)
    if not _until(lambda: not _open(found), _KILLED_S):
        raise ClusterError(f"the job {found.job.job} has not ended within {_KILLED_S:.0f} s")


def at_work(directory: RunDirectory) -> Holder | None:
    """Who trains the run, as far as that can be known from here."""
    content = read_lease(directory.path)
    holder = parse_lease(content) if content else None
    here = this_process()
    return None if holder is None or (here.knows(holder) and not here.sees(holder)) else holder


def _asked_and_ended(found: Found, directory: RunDirectory, *, say: Say, limit_s: float) -> bool:
    """Asks each driver that holds the run until none does, and the job has ended."""
    asked: set[str] = set()

    def ended() -> bool:
        # A driver that is starting has no lease yet, while its job runs.
        if found.job is not None and not _open(found):
            return True
        holder = at_work(directory)
        if holder is None:
            return found.job is None
        if holder.token not in asked:
            say(f"asking {holder} to save and end" if not asked else f"asking {holder} too")
            asked.add(holder.token)
            request_end(directory.path, token=holder.token)
        return False

    return _until(ended, limit_s)


def _ask_on_cluster(found: Found, *, say: Say, limit_s: float) -> None:
    """Has a small job on the cluster do the same beside the run's storage."""
    job, client = found.job, found.client
    if job is None or client is None or job.run_dir is None:
        raise ClusterError(
            "the run's storage is not to be seen from here",
            hint="orchestrator stop --now ends the job without a checkpoint",
        )
    say(f"asking the cluster to stop the run in {job.run_dir}")
    helper = client.run_beside(job.job, ["stop", "--", str(job.run_dir)])
    if not _until(lambda: not client.status(helper).open, limit_s + _KILLED_S):
        client.kill(helper)
    status = client.status(helper)
    if status.word == "finished":
        # The driver has let go of the run, and its supervisor is about to end.
        _until(lambda: not _open(found), _KILLED_S)
    else:
        say(f"that has {status.word}: {client.logs(helper).strip()[-300:]}")


def _kill_here(found: Found) -> None:
    holder = None if found.directory is None else at_work(found.directory)
    if found.directory is None or holder is None:
        return
    here = this_process()
    if not here.knows(holder):
        raise JobFailedError(f"the run is trained by {holder}, and nothing here can end that")
    # The first is a request; the second ends the driver and all that it has started.
    for _ in range(2):
        if here.sees(holder):
            os.kill(holder.pid, signal.SIGTERM)
            time.sleep(_LOOK_EVERY_S)
    directory = found.directory
    if not _until(lambda: at_work(directory) is None, _KILLED_S):
        raise JobFailedError(f"{holder} has not ended within {_KILLED_S:.0f} s")


def _open(found: Found) -> bool:
    assert found.client is not None  # a job is always one of a client's
    assert found.job is not None
    return found.client.status(found.job.job).open


def _until(condition: Callable[[], bool], limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_EVERY_S)
    return True
