"""`orchestrator plan`: prints what a job would do; nothing is started."""

import argparse
import json

from orchestrator.cli.output import say
from orchestrator.cli.planned import plan_from
from orchestrator.cli.spec_arguments import add_spec_arguments
from orchestrator.plan.render import render_json, render_text
from orchestrator.run.counting import with_known_counts
from orchestrator.run.directory import RunDirectory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    add_spec_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")


def run(args: argparse.Namespace) -> int:
    """Prints the plan.

    Raises:
        OrchestratorError: why the job cannot be run.
    """
    made = plan_from(args)
    made = with_known_counts(made, RunDirectory(path=made.run_dir))
    say(json.dumps(render_json(made), indent=2) if args.json else render_text(made))
    return 0
