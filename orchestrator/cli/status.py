"""`orchestrator status`: how a job on a cluster stands, and its run."""

import argparse
import json
import os
import time

from orchestrator.cli.job_arguments import add_address
from orchestrator.cli.output import say
from orchestrator.cli.run_arguments import add_storage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument("name", metavar="NAME", help="name of a run, or the number of a job")
    add_address(parser)
    add_storage(parser)
    parser.add_argument("--json", action="store_true", help="print both as JSON")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "with --json, job (as in `jobs --json`, null where there is none) and run (as in\n"
        "`runs --json`, null where its storage is not to be seen from here)"
    )


def run(args: argparse.Namespace) -> int:
    """Prints the status.

    Raises:
        UnknownRunError: there is no such job, and no such run.
        ClusterError: the cluster that was asked for does not answer.
    """
    # Only here: `--help` does not wait for all that a run's directory is read with.
    from orchestrator.cli.screen import wide_console
    from orchestrator.report.table import render_table
    from orchestrator.report.values import rows_json
    from orchestrator.run.result import row_of
    from orchestrator.submit.lookup import look_up
    from orchestrator.submit.render import job_json, render_job

    found = look_up(args.name, address=args.address, storage=args.storage, environ=os.environ)
    row = None if found.directory is None else row_of(found.directory)
    if args.json:
        job = None if found.job is None else job_json(found.job)
        say(json.dumps({"job": job, "run": None if row is None else rows_json([row])[0]}, indent=2))
        return 0
    if found.job is not None:
        say(render_job(found.job, now=time.time()))
    if row is not None:
        console = wide_console()
        table = render_table([row], now=time.time(), width=console.width)
        console.print(table, soft_wrap=True)
    return 0
