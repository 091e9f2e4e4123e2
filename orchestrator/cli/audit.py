"""`orchestrator audit`: proves from a run's files that each epoch has each row exactly once."""

import argparse
import json

from orchestrator.cli.output import say
from orchestrator.cli.run_arguments import add_storage
from orchestrator.ledger.audit import audit_run
from orchestrator.report.proof import PROOF_KEYS, proof_json, render_proof
from orchestrator.run.listing import find_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument("run", metavar="RUN", help="name of a run, or its directory")
    add_storage(parser)
    parser.add_argument("--json", action="store_true", help="print the proof as JSON")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        f"exit code 1 where a row is missing, repeated or another, or a file of the ledger is torn"
        f"\nwith --json, {PROOF_KEYS}"
    )


def run(args: argparse.Namespace) -> int:
    """Prints the proof; 1 where it fails.

    Raises:
        UnknownRunError: there is no such run.
        LedgerError: a file of its ledger is missing, torn or edited.
    """
    directory = find_run(args.run, storage=args.storage)
    audit = audit_run(directory.path)
    name = directory.path.name
    say(json.dumps(proof_json(audit, name), indent=2) if args.json else render_proof(audit, name))
    return 1 if audit.problems else 0
