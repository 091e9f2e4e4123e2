"""`orchestrator run`: trains a job to its end, or resumes it."""

import argparse

from orchestrator.cli.output import say
from orchestrator.cli.planned import plan_from
from orchestrator.cli.screen import captured_output
from orchestrator.cli.spec_arguments import add_spec_arguments
from orchestrator.report.render import render
from orchestrator.run.aside import set_aside
from orchestrator.run.directory import open_run
from orchestrator.run.execute import execute


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    add_spec_arguments(parser)
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="start over; the run of this name is kept as NAME.old-001, or the next free number",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the job.

    Raises:
        OrchestratorError: why it failed; the same command resumes it.
    """
    made = plan_from(args)
    if args.fresh:
        # Before the log is opened, which would go on into the run of before.
        set_aside(made.run_dir, say=say)
    directory = open_run(made)
    with captured_output(directory.next_log()) as console:
        summary = execute(made, directory, console=console, log_to_driver=True)
    console.print(render(summary, width=console.width), soft_wrap=True)
    return 0
