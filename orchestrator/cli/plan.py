"""`orchestrator plan`: prints what a job would do; nothing is started."""

import argparse
import json
from pathlib import Path

from orchestrator.cli.output import say
from orchestrator.cli.planned import plan_from
from orchestrator.cli.spec_arguments import add_spec_arguments
from orchestrator.errors import PlanError
from orchestrator.plan.job import JobPlan
from orchestrator.plan.render import render_json, render_text
from orchestrator.provision.clouds import MACHINES
from orchestrator.provision.costs import Costs, costs_of, lines_of, read_prices
from orchestrator.run.counting import with_known_counts
from orchestrator.run.directory import RunDirectory
from orchestrator.run.result import summarise_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    add_spec_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    parser.add_argument(
        "--provider",
        choices=["aws", "azure", "gcp"],
        help="also what it would cost there, with as many nodes as it can use",
    )
    parser.add_argument(
        "--prices", metavar="FILE", type=Path, help="a table of prices, instead of the package's"
    )


def run(args: argparse.Namespace) -> int:
    """Prints the plan.

    Raises:
        OrchestratorError: why the job cannot be run.
    """
    if args.prices is not None and args.provider is None:
        raise PlanError("--prices is for --provider, which says where")
    made = plan_from(args)
    made = with_known_counts(made, RunDirectory(path=made.run_dir))
    costs = None if args.provider is None else _costs(args, made)
    if args.json:
        content = render_json(made)
        if costs is not None:
            content = {**content, "costs": costs.as_json()}
        say(json.dumps(content, indent=2))
        return 0
    say(render_text(made))
    if costs is not None:
        say("\n".join([f"costs on {args.provider}, by {costs.prices}", *lines_of(costs)]))
    return 0


def _costs(args: argparse.Namespace, made: JobPlan) -> Costs:
    prices, source = read_prices(args.provider, args.prices)
    rate = None
    if (directory := RunDirectory(path=made.run_dir)).is_run:
        rate = summarise_run(directory).throughput.rows_per_s
    geometry = made.train.geometry
    epochs = made.total_steps / geometry.steps_per_epoch
    return costs_of(
        made.spec,
        MACHINES[args.provider],
        prices,
        rows=round(geometry.rows * epochs),
        epochs=epochs,
        rate=rate,
        source=source,
    )
