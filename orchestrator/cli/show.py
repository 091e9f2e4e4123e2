"""`orchestrator show`: shows one run, whether it is being trained or not."""

import argparse
import json
import time

from orchestrator.cli.output import say
from orchestrator.cli.run_arguments import add_storage
from orchestrator.cli.screen import wide_console
from orchestrator.errors import UnknownRunError
from orchestrator.report.details import render_details
from orchestrator.report.values import SUMMARY_KEYS, summary_json
from orchestrator.run.listing import find_run
from orchestrator.run.result import summarise_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("run", metavar="RUN", nargs="?", help="name of a run, or its directory")
    which.add_argument("--name", help="the same, as it was given to run")
    add_storage(parser)
    parser.add_argument("--json", action="store_true", help="print the run as JSON")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"with --json, {SUMMARY_KEYS}"


def run(args: argparse.Namespace) -> int:
    """Prints the run.

    Raises:
        UnknownRunError: there is no such run.
        CheckpointError: a file of it is missing or damaged.
    """
    wanted: str | None = args.run or args.name
    if wanted is None:
        raise UnknownRunError("which run? wanted RUN, its name or its directory")
    summary = summarise_run(find_run(wanted, storage=args.storage))
    if args.json:
        say(json.dumps(summary_json(summary), indent=2))
    else:
        console = wide_console()
        details = render_details(summary, now=time.time(), width=console.width)
        console.print(details, crop=False)
    return 0
