"""Runs the benchmarks: python -m benchmarks [WORKLOAD]..., see --help."""

import argparse
import datetime
import inspect
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness.machine import Machine, commit, this_machine
from benchmarks.harness.outcome import Settings
from benchmarks.harness.page import RESULTS, write_page
from benchmarks.harness.record import BadRecordError, Record, read_records, write_record
from benchmarks.harness.registry import UnknownWorkloadError, chosen, load
from benchmarks.harness.repeat import ROOT, RepetitionFailedError
from benchmarks.harness.shown import table

_FOLDER = Path("data") / "bench"
_ROUNDS = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 where all ran, 1 where one failed or, with --check, missed, 2 for wrong input."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    args = parser.parse_args(arguments)
    if args.quick and args.write_docs:
        parser.error("--write-docs: got --quick as well, wanted a full run for the page")
    try:
        names = chosen(args.workloads)
        if args.list:
            for name in names:
                print(f"{name:<12}  {load(name).TITLE}")
            return 0
        if args.page:
            return _write_page()
        return _run_all(names, args, shlex.join(["python", "-m", "benchmarks", *arguments]))
    except (UnknownWorkloadError, BadRecordError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures the stream beside limits and peers, and prints the ratios.",
        allow_abbrev=False,
    )
    parser.add_argument("workloads", metavar="WORKLOAD", nargs="*", help="by default all")
    parser.add_argument("--list", action="store_true", help="name the benchmarks and end")
    parser.add_argument(
        "--quick", action="store_true", help="small variants, which only guard against regressions"
    )
    parser.add_argument(
        "--rounds", type=_count, default=_ROUNDS, metavar="N", help=f"by default {_ROUNDS}"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=ROOT / _FOLDER,
        help=f'where prepared files and results are kept; by default "{_FOLDER}" of the project',
    )
    parser.add_argument(
        "--write-docs", action="store_true", help="keep the results under docs, and write the page"
    )
    parser.add_argument(
        "--page",
        action="store_true",
        help="write docs/benchmarks.md from the results that are there",
    )
    parser.add_argument(
        "--check", action="store_true", help="end with exit code 1 where a target is missed"
    )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'got "{text}", wanted a whole number greater than 0')
    return int(text)


def _run_all(names: Sequence[str], args: argparse.Namespace, command: str) -> int:
    machine = this_machine()
    print(f"{machine.text}\ncommit {commit()}\n{command}")
    folder: Path = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(folder=folder, rounds=args.rounds, quick=args.quick)
    failed, missed = [], []
    for name in names:
        try:
            record = _run_one(name, settings, machine)
        except RepetitionFailedError as error:
            # The others can still be measured.
            print(f"error: {name}: {error}", file=sys.stderr)
            failed.append(name)
            continue
        missed += [f"{name}: {check.name}" for check in record.outcome.checks if check.met is False]
        write_record(record, RESULTS if args.write_docs else folder / "results")
    if args.write_docs:
        _write_page()
    _sum_up(failed, missed)
    return 1 if failed or (args.check and missed) else 0


def _run_one(name: str, settings: Settings, machine: Machine) -> Record:
    workload = load(name)
    print(f"\n{name}: {workload.TITLE}", flush=True)
    began = time.monotonic()
    outcome = workload.run(settings)
    took = time.monotonic() - began
    print(f"\n{table(outcome)}\n  in {took:.0f} s", flush=True)
    quick = " --quick" if settings.quick else ""
    return Record(
        outcome=outcome,
        about=inspect.getdoc(workload) or workload.TITLE,
        command=f"python -m benchmarks {name}{quick} --rounds {settings.rounds}",
        commit=commit(),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        seconds=round(took, 1),
        quick=settings.quick,
        machine=machine,
    )


def _sum_up(failed: Sequence[str], missed: Sequence[str]) -> None:
    for name in failed:
        print(f"FAILED  {name}")
    for check in missed:
        print(f"MISSED  {check}")
    if not failed and not missed:
        print("all targets met")


def _write_page() -> int:
    print(f"wrote {write_page(read_records(RESULTS)).relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
