"""The quarantined rows of a split as a table to look at; `quarantine_mark` says that it counts."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.data.quarantine_mark import Mark, sha256
from orchestrator.plan.index import DatasetIndex

SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("file", pa.string()),
        ("row_group", pa.int32()),
        ("row_in_group", pa.int64()),
        ("row_in_file", pa.int64()),
        ("stage", pa.string()),
        ("error", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class BadRow:
    """A row that cannot be used: its number in the index, what failed on it, and how."""

    row: int
    stage: str
    error: str


def dump_bad_rows(bad: Sequence[BadRow], index: DatasetIndex, root: Path) -> tuple[bytes, Mark]:
    """The table of bad rows, in their order, and its mark; the same rows give the same bytes."""
    lines = [
        {"row": row.row, "stage": row.stage, "error": row.error, **_place(row.row, index, root)}
        for row in bad
    ]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(lines, schema=SCHEMA), sink)
    numbers = np.array([row.row for row in bad], dtype="<i8").tobytes()
    table = sink.getvalue()
    return table, Mark(rows=len(bad), row_numbers=sha256(numbers), sha256=sha256(table))


def _place(row: int, index: DatasetIndex, root: Path) -> dict[str, str | int]:
    """Where a row lies, in words that a reader without the index understands."""
    fragment = int(np.searchsorted(index.fragment_starts, row, side="right")) - 1
    path, in_file = index.locate(row)
    file = Path(path)
    return {
        "file": str(file.relative_to(root) if file.is_relative_to(root) else file),
        "row_group": index.fragments[fragment].row_group,
        "row_in_group": row - int(index.fragment_starts[fragment]),
        "row_in_file": in_file,
    }
