"""`orchestrator diff`: names the first step at which two runs saw different rows."""

import argparse
import json

from orchestrator.cli.output import say
from orchestrator.cli.run_arguments import add_storage
from orchestrator.ledger.diff import compare_runs
from orchestrator.report.ledger import comparison_json, render_comparison
from orchestrator.run.listing import find_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument("a", metavar="A", help="name of a run, or its directory")
    parser.add_argument("b", metavar="B", help="another one")
    add_storage(parser)
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")
    parser.epilog = "exit code 1 where they differ in a step that both have, or in their data"


def run(args: argparse.Namespace) -> int:
    """Prints where they differ; 1 where they do.

    Raises:
        UnknownRunError: there is no such run.
        LedgerError: one of the ledgers is not whole, or not proven.
    """
    a, b = (find_run(run, storage=args.storage).path for run in (args.a, args.b))
    found = compare_runs(a, b)
    names = (args.a, args.b)
    as_json = comparison_json(found, names)
    say(json.dumps(as_json, indent=2) if args.json else render_comparison(found, names))
    return 0 if found.agrees else 1
