"""Rows that are quarantined: found by a pass, listed in the run's directory, held to the budget."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from orchestrator.checkpoint.files import storage_errors
from orchestrator.data.checking import check_rows
from orchestrator.data.fitted import FittedState
from orchestrator.data.quarantine_file import BadRow, dump_bad_rows
from orchestrator.data.quarantine_mark import QUARANTINE_DIR, mark_file, table_file
from orchestrator.data.sieve import over_budget
from orchestrator.errors import DataError
from orchestrator.jsonl import JsonLinesWriter
from orchestrator.plan.origins import Counts
from orchestrator.plan.quarantine import quarantined_rows
from orchestrator.plan.stream import StreamPlan
from orchestrator.run.apart import run_apart
from orchestrator.run.directory import RunDirectory, replace_file


def check_and_list(
    stream: StreamPlan,
    directory: RunDirectory,
    events: JsonLinesWriter,
    fitted: tuple[FittedState, ...],
    *,
    root: Path,
    check: Callable[[], None],
) -> Counts:
    """What each row of a stream gives; the bad ones are listed, and said to be in the events.

    Args:
        check: called several times a second in this thread; what it raises ends the wait.

    Raises:
        DataError: there are more bad rows than the spec allows, or no row is to blame alone.
        ray.exceptions.RayError: the pass failed.
    """
    assert stream.counting is not None  # nobody looks for bad rows who would not quarantine them
    most = stream.counting.most_errors or 0
    counts, bad = run_apart(partial(check_rows, stream, root=root, fitted=fitted), check)
    if len(bad) > most:
        where = f"dataset.{stream.split}"
        raise over_budget(stream.index, bad[0], most=most, where=where, found=len(bad))
    _list(bad, stream, directory, root)
    if bad:
        fields = {"split": stream.split, "rows": len(bad), "of_rows": len(counts)}
        told = {"event": "quarantined", "attempt": None, **fields, "file": table_file(stream.split)}
        events.write({"time": time.time(), **told})
    return counts


def check_budget(stream: StreamPlan, counts: Counts) -> None:
    """Holds what an earlier start has found to the budget, which may have been lowered since.

    Raises:
        DataError: there are more bad rows than the spec allows.
    """
    if stream.counting is None or stream.counting.most_errors is None:
        return
    bad, most = quarantined_rows(counts), stream.counting.most_errors
    if len(bad) > most:
        raise DataError(
            f"dataset.max_errors: {len(bad):,} of the {len(counts):,} rows of"
            f" dataset.{stream.split} are quarantined, and {most:,} may be",
            hint=f"they are listed in {table_file(stream.split)} of the run's directory",
        )


def _list(bad: Sequence[BadRow], stream: StreamPlan, directory: RunDirectory, root: Path) -> None:
    """Writes the table and then its mark: it counts as a whole or not at all.

    The same rows give the same files, however often they are looked for.
    """
    table, mark = dump_bad_rows(bad, stream.index, root)
    folder, marked = directory.path / QUARANTINE_DIR, directory.path / mark_file(stream.split)
    with storage_errors("make", folder):
        folder.mkdir(mode=0o700, exist_ok=True)
    with storage_errors("replace", marked):
        # In between, a table without its mark is no table.
        marked.unlink(missing_ok=True)
    replace_file(directory.path / table_file(stream.split), table)
    replace_file(marked, mark.to_bytes())
