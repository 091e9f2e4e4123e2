"""`orchestrator bench`: runs the benchmarks of a checkout."""

import argparse
import subprocess
import sys
from pathlib import Path

import orchestrator
from orchestrator.errors import PlanError

# The benchmarks lie beside the package, and are not installed with it.
ROOT = Path(orchestrator.__file__).parents[1]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument(
        "workloads", metavar="WORKLOAD", nargs="*", help="a benchmark; by default all of them"
    )
    parser.add_argument("--list", action="store_true", help="name the benchmarks and end")
    parser.add_argument(
        "--quick", action="store_true", help="small variants, which only guard against regressions"
    )
    parser.add_argument("--rounds", metavar="N", help="repetitions of each contender")
    parser.add_argument(
        "--check", action="store_true", help="end with exit code 1 where a target is missed"
    )
    parser.add_argument(
        "--write-docs",
        action="store_true",
        help="keep the results under docs, and write docs/benchmarks.md from them",
    )


def run(args: argparse.Namespace) -> int:
    """Runs them in a process of its own, and returns its exit code.

    Raises:
        PlanError: the package was installed without its checkout.
    """
    if not (ROOT / "benchmarks" / "__main__.py").is_file():
        raise PlanError(
            f"no benchmarks beside the package in {ROOT}; wanted a checkout of the project",
            hint="clone the project, then make setup && .venv/bin/orchestrator bench",
        )
    switches = ("list", "quick", "check", "write_docs")
    options = [f"--{name.replace('_', '-')}" for name in switches if getattr(args, name)]
    if args.rounds is not None:
        options.append(f"--rounds={args.rounds}")
    command = [sys.executable, "-m", "benchmarks", *options, "--", *args.workloads]
    return subprocess.run(command, cwd=ROOT, check=False).returncode
