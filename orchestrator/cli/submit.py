"""`orchestrator submit`: packs a job, and hands it to a cluster."""

import argparse
import json
import os

from orchestrator.cli.following import follow_job
from orchestrator.cli.job_arguments import add_address
from orchestrator.cli.output import say
from orchestrator.cli.queueing import enqueue, queue_options
from orchestrator.cli.spec_arguments import add_spec_arguments, load_spec
from orchestrator.errors import SpecError
from orchestrator.units import format_bytes, parse_byte_size

DEFAULT_LIMIT = "64MiB"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    add_spec_arguments(parser)
    add_address(parser)
    parser.add_argument(
        "-f", "--follow", action="store_true", help="show what it prints, and end as it ends"
    )
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="start over; the run of this name is kept as NAME.old-001, or the next free number",
    )
    parser.add_argument(
        "--trust", action="store_true", help="let the spec add the packages of runtime.pip"
    )
    parser.add_argument(
        "--package-limit",
        metavar="SIZE",
        default=DEFAULT_LIMIT,
        help=f"how much of the working directory may travel; by default {DEFAULT_LIMIT}",
    )
    parser.add_argument(
        "--queue", action="store_true", help="let it wait until no more than --at-most jobs run"
    )
    parser.add_argument(
        "--priority",
        metavar="N",
        default="0",
        help="in the queue, the higher the sooner; by default 0, from -1000 to 1000",
    )
    parser.add_argument(
        "--at-most",
        metavar="N",
        help="how many jobs may run at once; kept, and 1 at first",
    )
    parser.add_argument("--json", action="store_true", help="print the job as JSON")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "What .gitignore, .rayignore or .orchestratorignore lists does not travel.\n"
        "with --follow, the exit code is the job's, and 130 where Ctrl-C has left it alone"
    )


def run(args: argparse.Namespace) -> int:
    """Submits the job.

    Raises:
        OrchestratorError: why it is not, or with --follow the cluster is gone.
    """
    limit = _limit(args.package_limit)
    priority, at_most = queue_options(args)
    spec = load_spec(args)
    # Only here: Ray takes a second to import, and a mistake in the spec is told before.
    from orchestrator.submit.address import choose_target
    from orchestrator.submit.client import JobClient
    from orchestrator.submit.submission import prepared

    target = choose_target(args.address, os.environ)
    client = JobClient(target)
    with prepared(
        spec, here=target.here, fresh=args.fresh, trust=args.trust, limit=limit
    ) as submission:
        size = submission.package.stat().st_size
        if args.queue:
            return enqueue(
                client, submission, priority=priority, at_most=at_most, as_json=args.json
            )
        handle = client.submit(submission)
    if args.json:
        say(json.dumps({"run": handle.run, "job": handle.job, "address": target.url}))
    else:
        say(f"{handle.run}  submitted as {handle.job} to {target}")
        say(f"  package  {format_bytes(size)}")
        say(f"  run      {submission.run_dir}")
    return follow_job(client, handle.job, run=handle.run) if args.follow else 0


def _limit(text: str) -> int:
    try:
        return parse_byte_size(text)
    except ValueError as error:
        raise SpecError(f'--package-limit: got "{text}", {error}') from None
