"""The quarantined rows of a run: whether those that its counts leave out are the ones it lists."""

from collections.abc import Iterator
from pathlib import Path

from orchestrator.checkpoint.files import storage_errors
from orchestrator.data.quarantine_mark import QUARANTINE_DIR, read_mark, sha256, table_file
from orchestrator.ledger.problem import Problem
from orchestrator.ledger.run_order import RunOrder


def unlisted(run: RunOrder, run_dir: Path) -> Iterator[Problem]:
    """That rows are left out as bad which are not the listed ones."""
    if not len(run.quarantined):
        return  # nothing is left out, whatever an earlier start of the run has listed
    try:
        with storage_errors("read", run_dir / QUARANTINE_DIR):
            why = _why_not(run, run_dir)
    except ValueError as error:
        why = str(error)
    if why is not None:
        rows = tuple(run.quarantined.tolist())
        yield Problem(message=f"{len(rows):,} rows are left out as bad, but {why}", rows=rows)


def _why_not(run: RunOrder, run_dir: Path) -> str | None:
    mark, path = read_mark(run_dir, "train"), run_dir / table_file("train")
    if mark is None or not path.is_file():
        return f"{table_file('train')} or its mark is missing"
    if sha256(path.read_bytes()) != mark.sha256:
        return f"{table_file('train')} does not match its mark"
    if sha256(run.quarantined.astype("<i8").tobytes()) != mark.row_numbers:
        return f"{table_file('train')} lists other rows, {mark.rows:,} of them"
    return None
