"""`orchestrator submit --queue`: a job that waits for its turn."""

import argparse
import json
from typing import TYPE_CHECKING

from orchestrator.cli.output import say
from orchestrator.errors import SpecError
from orchestrator.units import format_count

if TYPE_CHECKING:
    from orchestrator.submit.client import JobClient
    from orchestrator.submit.submission import Submission

_PRIORITIES = range(-1000, 1001)


def queue_options(args: argparse.Namespace) -> tuple[int, int | None]:
    """The priority, and how many jobs may run at once where that is to change.

    Raises:
        SpecError: they are wrong, or given without --queue.
    """
    if not args.queue:
        for option, given in (("--priority", args.priority != "0"), ("--at-most", args.at_most)):
            if given:
                raise SpecError(f"{option} is for jobs that wait", hint="--queue lets a job wait")
        return 0, None
    if args.follow:
        raise SpecError(
            "--follow: a job in the queue prints nothing yet",
            hint="orchestrator logs -f NAME follows it once it runs",
        )
    try:
        priority = int(args.priority)
    except ValueError:
        priority = _PRIORITIES.stop
    if priority not in _PRIORITIES:
        raise SpecError(f'--priority: got "{args.priority}", wanted a number from -1000 to 1000')
    if args.at_most is None:
        return priority, None
    if not args.at_most.isdecimal() or not 0 < int(args.at_most) < 1000:
        raise SpecError(f'--at-most: got "{args.at_most}", wanted a number from 1 to 999')
    return priority, int(args.at_most)


def enqueue(
    client: "JobClient",
    submission: "Submission",
    *,
    priority: int,
    at_most: int | None,
    as_json: bool,
) -> int:
    """Puts a job into the queue of its storage.

    Raises:
        SpecError: that is not to be seen from here.
        JobFailedError: a job for its run waits already.
        ClusterError: the cluster does not answer.
    """
    from orchestrator.submit.queue import queue_of
    from orchestrator.submit.queue_runner import ensure_runner

    if not client.target.here:
        raise SpecError(
            f"--queue: the queue lies in {submission.run_dir.parent}, which cannot be written from"
            " here for a cluster on other machines",
            hint="submit from the cluster's head, or leave the waiting to Kueue:"
            " docs/kubernetes.md",
        )
    queue = queue_of(submission)
    with queue.locked():
        if at_most is not None:
            queue.set_at_most(at_most)
        entry = queue.add(submission, priority=priority)
        place = [each.number for each in queue.entries()].index(entry.number) + 1
        ensure_runner(queue, client)
        most = queue.at_most
    if as_json:
        say(json.dumps({"run": submission.run, "place": place, "priority": priority}))
        return 0
    say(
        f"{submission.run}  in the queue, place {format_count(place)}, priority {priority}; at most"
        f" {format_count(most)} {'runs' if most == 1 else 'run'} at once"
    )
    return 0
