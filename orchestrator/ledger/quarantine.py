"""The quarantined rows of a run: whether those that its counts leave out are the ones it lists."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from orchestrator.checkpoint.files import storage_errors
from orchestrator.data.quarantine_file import QUARANTINE_DIR, read_quarantined, table_file
from orchestrator.ledger.problem import Problem
from orchestrator.ledger.run_order import RunOrder


def unlisted(run: RunOrder, run_dir: Path) -> Iterator[Problem]:
    """Rows that are left out as bad without being listed, or listed and not left out."""
    if not len(run.quarantined):
        return  # nothing is left out, whatever an earlier start of the run has listed
    try:
        with storage_errors("read", run_dir / QUARANTINE_DIR):
            listed = read_quarantined(run_dir, "train")
    except ValueError as error:
        yield Problem(message=str(error))
        return
    for rows, what in (
        (
            np.setdiff1d(run.quarantined, listed),
            f"left out as bad, but not in {table_file('train')}",
        ),
        (np.setdiff1d(listed, run.quarantined), f"in {table_file('train')}, but not left out"),
    ):
        if len(rows):
            verb = "row is" if len(rows) == 1 else "rows are"
            message = f"{len(rows):,} {verb} {what}"
            yield Problem(message=message, rows=tuple(rows.tolist()))
