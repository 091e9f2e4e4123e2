"""`orchestrator export`: the weights of a run in a folder of their own, readable without Ray."""

import argparse
from pathlib import Path

from orchestrator.cli.output import complain, say
from orchestrator.cli.run_arguments import add_storage
from orchestrator.errors import CheckpointError
from orchestrator.run.listing import find_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument("run", metavar="RUN", help="name of a run, or its directory")
    add_storage(parser)
    parser.add_argument(
        "--step", metavar="N", type=int, help="the checkpoint of this step; by default the newest"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="a new folder; by default RUN-step-N, here"
    )
    parser.epilog = "orchestrator.export.load(DIR) reads it in Python, without Ray"


def run(args: argparse.Namespace) -> int:
    """Exports a checkpoint that verifies.

    Raises:
        UnknownRunError: there is no such run.
        CheckpointError: there is no such checkpoint, it is damaged, or the folder exists.
    """
    # Here, as they load torch, which --help is not to wait for.
    from orchestrator.run.export_choice import choose, export_to

    directory = find_run(args.run, storage=args.storage)
    if args.step is not None and args.step < 1:
        raise CheckpointError(f"--step is {args.step}; steps are counted from 1")
    choice = choose(directory, args.step)
    step = choice.checkpoint.manifest.step
    target: Path = args.out or Path(f"{directory.path.name}-step-{step}")
    export_to(choice.checkpoint, target, job=directory.job)
    for damaged in choice.passed_over:
        complain(f"passed over, as it is damaged: {damaged}")
    say(f"{target}: the weights of {choice.checkpoint.name}")
    return 0
