"""`orchestrator schema`: describes job specs to editors and to readers."""

import argparse
import json

from orchestrator.cli.output import say
from orchestrator.spec.schema import json_schema, markdown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument(
        "--markdown", action="store_true", help="print the reference in Markdown instead"
    )


def run(args: argparse.Namespace) -> int:
    """Prints the JSON Schema, or the text of docs/spec.md."""
    say(markdown().rstrip("\n") if args.markdown else json.dumps(json_schema(), indent=2))
    return 0
