"""The arguments of all verbs that take a job spec."""

import argparse
import os
from pathlib import Path

from orchestrator.spec.check import check_symbols
from orchestrator.spec.job import JobSpec
from orchestrator.spec.load import LoadedJob, read_job
from orchestrator.spec.overrides import Override, text_override


def add_spec_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds SPEC and the options that change it."""
    parser.add_argument("spec", metavar="SPEC", type=Path, help="job spec, a YAML file")
    parser.add_argument(
        "--set",
        metavar="PATH=VALUE",
        dest="overrides",
        action="append",
        default=[],
        help="change one value of the spec, such as training.epochs=3; may be repeated",
    )
    parser.add_argument("--name", help="name of the run, instead of the spec's")
    parser.add_argument(
        "--storage", metavar="DIR", help="directory of the run directories, from here"
    )


def load_spec(args: argparse.Namespace) -> JobSpec:
    """Loads the spec that the arguments name, and looks for the code that it names.

    Raises:
        SpecError: The spec, an option, or the code is wrong; with the place in the file.
    """
    return load_located(args).spec


def load_located(args: argparse.Namespace) -> LoadedJob:
    """Does what `load_spec` does, and keeps the places of the values.

    Raises:
        SpecError: The spec, an option, or the code is wrong; with the place in the file.
    """
    job = _read(args)
    check_symbols(job.spec, Path(job.spec.runtime.working_dir), locate=job.where)
    return job


def _read(args: argparse.Namespace) -> LoadedJob:
    overrides: list[str | Override] = list(args.overrides)
    if args.name is not None:
        overrides.append(text_override("name", args.name, option=f"--name {args.name}"))
    if args.storage is not None:
        folder = os.path.normpath(Path.cwd() / args.storage) if args.storage else ""
        overrides.append(
            text_override("checkpoint.storage", folder, option=f"--storage {args.storage}")
        )
    return read_job(args.spec, overrides=overrides, environ=os.environ)
