"""Starts what waits in a queue: a job of the cluster, without CPUs, that ends with the queue.

It is a job and not an actor because a client then needs nothing but the job server, and because the
job server keeps its log. It is killed at no cost: whoever submits next starts another one.
"""

import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import ClusterError, JobFailedError, OrchestratorError
from orchestrator.submit.queue import Entry, Queue
from orchestrator.submit.status import QUEUE_KEY, JobStatus

if TYPE_CHECKING:
    from orchestrator.submit.client import JobClient

RUNNER_NAME = "orchestrator-queue"
_LOOK_EVERY_S = 2.0


def ensure_runner(queue: Queue, client: "JobClient") -> str:
    """Has a job at work on a queue, and returns its number; the caller holds the queue's lock.

    Raises:
        ClusterError: the cluster does not answer.
    """
    jobs = {job.job: job for job in client.jobs()}
    known = queue.runner
    if known is not None and known in jobs and jobs[known].open:
        return known
    python = sys.executable if client.target.here else "python"
    command = [python, "-m", "orchestrator.submit.queue_runner", str(queue.folder)]
    job = client.submit_helper(
        RUNNER_NAME,
        shlex.join([*command, client.target.url]),
        metadata={QUEUE_KEY: str(queue.folder)},
    )
    queue.set_runner(job)
    return job


def run_queue(
    queue: Queue, client: "JobClient", *, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Starts waiting jobs, the highest priority first, until none is left."""
    while True:
        with queue.locked():
            if not start_next(queue, client):
                # Under the lock: who adds a job sees that nobody is at work here any more.
                queue.set_runner(None)
                return
        sleep(_LOOK_EVERY_S)


def start_next(queue: Queue, client: "JobClient") -> bool:
    """Starts as many jobs as may run; returns whether some still wait."""
    jobs = client.jobs()
    started = {job.entry for job in jobs if job.entry is not None}
    waiting: list[Entry] = []
    for entry in queue.entries():
        if entry.number in started:
            # A crash came between its start and this.
            queue.remove(entry)
        else:
            waiting.append(entry)
    room = queue.at_most - sum(job.open and job.run is not None for job in jobs)
    for entry in waiting[: max(0, room)]:
        try:
            client.submit(entry.submission, entry=entry.number)
        except JobFailedError as error:
            sys.stderr.write(f"{entry.submission.run} is not started: {error}\n")
        queue.remove(entry)
    return len(waiting) > max(0, room)


def queued(jobs: Sequence[JobStatus]) -> Sequence[JobStatus]:
    """What waits in the queues that jobs of a cluster are at work on, the first to start first.

    A queue that is not to be seen from here has nothing to show.
    """
    folders = [job.queue for job in jobs if job.queue is not None and job.open]
    return [
        JobStatus(
            job=f"(priority {entry.priority})",
            run=entry.submission.run,
            run_dir=entry.submission.run_dir,
            word="queued",
        )
        for folder in folders
        for entry in Queue(folder).entries()
    ]


def main(folder: str, address: str) -> int:
    """Runs the queue of a folder on the cluster of an address."""
    from orchestrator.submit.address import choose_target
    from orchestrator.submit.client import JobClient

    try:
        run_queue(Queue(Path(folder)), JobClient(choose_target(address, os.environ)))
    except (ClusterError, OrchestratorError) as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
