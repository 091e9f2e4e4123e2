"""`orchestrator run`: trains a job to its end, or resumes it; under a supervisor, if asked for."""

import argparse
import sys
from pathlib import Path

from orchestrator.cli.output import complain
from orchestrator.cli.spec_arguments import add_spec_arguments, load_spec
from orchestrator.run.supervisor import is_supervised, supervise


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
    if not is_supervised():
        spec = load_spec(args)
        if spec.failure.restart_driver:
            run_dir = Path(spec.runtime.data_root) / spec.checkpoint.storage / spec.name
            before = _identity(run_dir)

            def command(start: int) -> list[str]:
                # A driver that died before it had set the old run aside has still to do so.
                fresh = args.fresh and (start == 0 or _identity(run_dir) == before is not None)
                return [sys.executable, "-m", "orchestrator", *_arguments(args, fresh=fresh)]

            return supervise(command, run_dir, budget=spec.failure.restart_driver, say=complain)
    # Only here: a supervisor is to stay small, and to start at once.
    from orchestrator.cli.train import train

    return train(args)


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _arguments(args: argparse.Namespace, *, fresh: bool) -> list[str]:
    """The arguments as they were given; with "=", as a value may begin with a hyphen."""
    options = [f"--set={override}" for override in args.overrides]
    options += [] if args.name is None else [f"--name={args.name}"]
    options += [] if args.storage is None else [f"--storage={args.storage}"]
    options += ["--fresh"] if fresh else []
    return ["run", *options, "--", str(args.spec)]
