"""`orchestrator jobs`: lists the jobs of a cluster."""

import argparse
import json
import os
import time

from orchestrator.cli.job_arguments import add_address
from orchestrator.cli.output import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    add_address(parser)
    parser.add_argument("--json", action="store_true", help="print the jobs as JSON")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "with --json, a list: job, run, run_dir, status (queued, pending, running, finished,\n"
        "interrupted, stopped or failed), exit_code, message, started_at and ended_at (Unix time,\n"
        "in seconds)"
    )


def run(args: argparse.Namespace) -> int:
    """Prints the jobs, the newest first.

    Raises:
        ClusterError: there is no cluster, or it does not answer.
    """
    from orchestrator.submit.address import choose_target
    from orchestrator.submit.client import JobClient
    from orchestrator.submit.queue_runner import queued
    from orchestrator.submit.render import job_json, render_jobs

    client = JobClient(choose_target(args.address, os.environ))
    there = client.jobs()
    jobs = [*reversed(queued(there)), *reversed(there)]
    if args.json:
        say(json.dumps([job_json(job) for job in jobs], indent=2))
    else:
        say(render_jobs(jobs, now=time.time()) if jobs else f"no jobs on {client.target}")
    return 0
