"""`orchestrator runs`: lists the runs in a directory."""

import argparse
import json
import time
from pathlib import Path

from orchestrator.cli.output import say
from orchestrator.cli.screen import wide_console
from orchestrator.errors import UnknownRunError
from orchestrator.report.table import render_table
from orchestrator.report.values import ROW_KEYS, rows_json
from orchestrator.run.directory import RunDirectory
from orchestrator.run.listing import list_runs
from orchestrator.spec.checkpoint import DEFAULT_STORAGE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument(
        "directory",
        metavar="DIR",
        nargs="?",
        type=Path,
        default=Path(DEFAULT_STORAGE),
        help=f'directory of the run directories; by default "{DEFAULT_STORAGE}", from here',
    )
    parser.add_argument("--json", action="store_true", help="print the runs as JSON")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"with --json, {ROW_KEYS}"


def run(args: argparse.Namespace) -> int:
    """Prints the runs, the newest first.

    Raises:
        UnknownRunError: there is no such directory.
    """
    folder: Path = args.directory
    if not folder.is_dir() and folder != Path(DEFAULT_STORAGE):
        raise UnknownRunError(f"no directory {folder}")
    if RunDirectory(path=folder).is_run:
        raise UnknownRunError(
            f"{folder} is itself a run, and not a directory of runs",
            hint=f"orchestrator show {folder}",
        )
    rows = list_runs(folder)
    if args.json:
        say(json.dumps(rows_json(rows), indent=2))
    elif rows:
        console = wide_console()
        table = render_table(rows, now=time.time(), width=console.width)
        console.print(table, soft_wrap=True)
    else:
        say(f"no runs in {folder}")
    return 0
