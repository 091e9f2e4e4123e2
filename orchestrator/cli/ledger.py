"""`orchestrator ledger`: shows or exports which rows made which step of a run."""

import argparse
import json
from pathlib import Path

from orchestrator.cli.output import say
from orchestrator.cli.run_arguments import add_storage
from orchestrator.errors import LedgerError
from orchestrator.ledger.chain import read_chain
from orchestrator.ledger.run_order import read_order
from orchestrator.ledger.step import rows_of_step
from orchestrator.report.ledger import overview_json, render_overview, render_step, step_json
from orchestrator.run.listing import find_run
from orchestrator.units import format_count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument("run", metavar="RUN", help="name of a run, or its directory")
    add_storage(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--export",
        metavar="FILE",
        type=Path,
        help="write all of it as Parquet: attempt, epoch, step, rank, row, part, status, effective",
    )
    which.add_argument(
        "--step", metavar="N", type=int, help="show the rows of a step, counted from 1"
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")


def run(args: argparse.Namespace) -> int:
    """Prints an overview, or what was asked for.

    Raises:
        UnknownRunError: there is no such run.
        LedgerError: its ledger is not whole, or has no such step.
    """
    directory = find_run(args.run, storage=args.storage)
    path, name = directory.path, directory.path.name
    if args.export is not None:
        return _export(path, args.export, as_json=args.json)
    if args.step is not None:
        if args.step < 1:
            raise LedgerError(f"--step is {args.step}; steps are counted from 1")
        rows = rows_of_step(path, args.step)
        as_json, text = step_json(rows, args.step), render_step(rows, args.step)
    else:
        order, chain = read_order(path), read_chain(path)
        as_json, text = overview_json(order, chain, name), render_overview(order, chain, name)
    say(json.dumps(as_json, indent=2) if args.json else text)
    return 0


def _export(run_dir: Path, file: Path, *, as_json: bool) -> int:
    # Here, as nothing else of the verb needs pyarrow, which takes its time to load.
    from orchestrator.ledger.export import export_ledger

    if file.is_dir():
        raise LedgerError(f"--export {file} is a directory, wanted the name of a file")
    done = export_ledger(run_dir, file)
    if as_json:
        left_out = list(done.left_out)
        found = {"file": str(file), "lines": done.lines, "left_out": left_out}
        say(json.dumps(found, indent=2))
        return 0
    say(f"{file}: {format_count(done.lines)} lines")
    if done.left_out:
        say(f"left out, as written under another order: {', '.join(done.left_out)}")
    return 0
