"""`orchestrator validate`: checks a spec and the code it names, and starts nothing."""

import argparse

from orchestrator.cli.output import say
from orchestrator.cli.spec_arguments import add_spec_arguments, load_spec
from orchestrator.spec.job import JobSpec
from orchestrator.units import format_count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    add_spec_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Checks the spec.

    Raises:
        SpecError: The spec, or the code that it names, is wrong.
    """
    say(f"{args.spec}: valid ({_summary(load_spec(args))})")
    return 0


def _summary(spec: JobSpec) -> str:
    training = spec.training
    length = (
        _counted(training.epochs, "epoch")
        if training.epochs is not None
        else _counted(training.steps or 0, "step")
    )
    return (
        f'name "{spec.name}", {_counted(len(spec.transforms), "transform")}, {length}, '
        f"global batch {format_count(training.global_batch_size)}, "
        f"{_workers(*spec.scaling.workers)}"
    )


def _workers(low: int, high: int) -> str:
    return ("" if low == high else f"{format_count(low)} to ") + _counted(high, "worker")


def _counted(count: int, noun: str) -> str:
    return f"{format_count(count)} {noun}" + "s" * (count != 1)
