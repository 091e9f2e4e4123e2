"""`orchestrator stop`: ends a job, or any run, with a last checkpoint."""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.job_arguments import add_address
from orchestrator.cli.output import say
from orchestrator.cli.run_arguments import add_storage

if TYPE_CHECKING:
    from orchestrator.submit.lookup import Found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument(
        "name", metavar="NAME", help="name of a run, its directory, or the number of a job"
    )
    parser.add_argument("--now", action="store_true", help="without a last checkpoint")
    add_address(parser)
    add_storage(parser)


def run(args: argparse.Namespace) -> int:
    """Stops it, and returns once it has ended; the same name goes on later.

    Raises:
        UnknownRunError: there is no such job, and no such run.
        ClusterError: the cluster that was asked for does not answer, or the job does not end.
        JobFailedError: the run has not ended in time.
    """
    # Only here: `--help` does not wait for all that a run's directory is read with.
    from orchestrator.submit.lookup import look_up
    from orchestrator.submit.stopping import at_work, stop_in_order, stop_now

    if _taken_out(args):
        say(f"{args.name} is out of the queue")
        return 0
    found = look_up(args.name, address=args.address, storage=args.storage, environ=os.environ)
    if found.job is not None and not found.job.open:
        found = replace(found, job=None)  # what may be at work is a driver of this machine
    if found.job is None and (found.directory is None or at_work(found.directory) is None):
        say(f"{args.name} is not running")
        return 0
    (stop_now if args.now else stop_in_order)(found, say=say)
    say(f"{args.name} has stopped{_checkpoint(found)}")
    return 0


def _taken_out(args: argparse.Namespace) -> bool:
    """Whether a job of that name waited in the storage's queue, and now does not."""
    from orchestrator.submit.queue import QUEUE_DIR, Queue

    queue = Queue(Path(args.storage) / QUEUE_DIR)
    if not queue.folder.is_dir():
        return False
    with queue.locked():
        for entry in queue.entries():
            if entry.submission.run == args.name:
                queue.remove(entry)
                return True
    return False


def _checkpoint(found: "Found") -> str:
    newest = None if found.directory is None else found.directory.checkpoints.committed()[:1]
    return f"; its newest checkpoint is {newest[0].name}" if newest else ""
