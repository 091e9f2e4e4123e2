"""`orchestrator run`: trains a job to its end, or resumes it."""

import argparse

from orchestrator.cli.planned import plan_from
from orchestrator.cli.screen import captured_output
from orchestrator.cli.spec_arguments import add_spec_arguments
from orchestrator.report.render import render
from orchestrator.run.directory import open_run
from orchestrator.run.driver import execute


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    add_spec_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the job.

    Raises:
        OrchestratorError: why it failed; the same command resumes it.
    """
    made = plan_from(args)
    directory = open_run(made)
    with captured_output(directory.next_log()) as console:
        summary = execute(made, directory, console=console, log_to_driver=True)
    console.print(render(summary, width=console.width), soft_wrap=True)
    return 0
