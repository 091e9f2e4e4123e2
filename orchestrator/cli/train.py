"""The driver's part of `orchestrator run`: all that needs ray and torch."""

import argparse
import os

from orchestrator.cli.output import say
from orchestrator.cli.planned import plan_from
from orchestrator.cli.screen import captured_output
from orchestrator.report.render import render
from orchestrator.run.aside import set_aside
from orchestrator.run.cluster import in_job
from orchestrator.run.directory import open_run
from orchestrator.run.execute import execute


def train(args: argparse.Namespace) -> int:
    """Runs the job in this process.

    Raises:
        OrchestratorError: why it failed; the same command resumes it.
    """
    made = plan_from(args)
    if args.fresh:
        # Before the log is opened, which would go on into the run of before.
        set_aside(made.run_dir, say=say)
    directory = open_run(made)
    with captured_output(directory.next_log(), copied=in_job(os.environ)) as console:
        summary = execute(made, directory, console=console, log_to_driver=True)
    console.print(render(summary, width=console.width), soft_wrap=True)
    return 0
