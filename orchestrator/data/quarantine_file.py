"""The quarantined rows of a split as files of a run: a table to look at, and a mark that it counts.

quarantine/train.parquet    a line for each row: file, position, what failed and how
quarantine/train.json       written last: how many lines, and the table's SHA-256
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.plan.index import DatasetIndex
from orchestrator.plan.origins import Rows

QUARANTINE_DIR = "quarantine"
FORMAT = 1
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


def table_file(split: str) -> str:
    """The name of a split's table in the run's directory."""
    return f"{QUARANTINE_DIR}/{split}.parquet"


def mark_file(split: str) -> str:
    """The name of the mark that the table counts."""
    return f"{QUARANTINE_DIR}/{split}.json"


def dump_bad_rows(bad: Sequence[BadRow], index: DatasetIndex, root: Path) -> bytes:
    """The table of a split's bad rows, in their order; the same rows are the same bytes."""
    lines = [
        {"row": row.row, "stage": row.stage, "error": row.error, **_place(row.row, index, root)}
        for row in bad
    ]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(lines, schema=SCHEMA), sink)
    return sink.getvalue()


def dump_mark(table: bytes, rows: int) -> bytes:
    """The mark of a table with so many rows."""
    mark = {"format": FORMAT, "rows": rows, "sha256": hashlib.sha256(table).hexdigest()}
    return json.dumps(mark).encode() + b"\n"


def read_quarantined(run_dir: Path, split: str) -> Rows:
    """The numbers of the rows that the table of a split lists, ascending; none without a mark.

    Raises:
        ValueError: the table or its mark is damaged.
        OSError: they cannot be read.
    """
    mark = _read_mark(run_dir / mark_file(split))
    if mark is None:
        return np.empty(0, dtype=np.int64)
    path = run_dir / table_file(split)
    if not path.is_file():
        raise ValueError(f"{table_file(split)} is missing")
    table = path.read_bytes()
    if hashlib.sha256(table).hexdigest() != mark["sha256"]:
        raise ValueError(f"{table_file(split)} does not match its mark")
    rows: Rows = pq.read_table(pa.BufferReader(table), columns=["row"])["row"].to_numpy()
    return rows


def count_quarantined(run_dir: Path) -> Mapping[str, int]:
    """How many rows of each split are quarantined, as the marks say.

    Raises:
        ValueError: a mark is damaged.
        OSError: it cannot be read.
    """
    marks = {split: _read_mark(run_dir / mark_file(split)) for split in ("train", "validation")}
    return {split: int(str(mark["rows"])) for split, mark in marks.items() if mark is not None}


def _read_mark(path: Path) -> dict[str, object] | None:
    if not path.is_file():
        return None
    try:
        mark = json.loads(path.read_bytes())
        if mark["format"] != FORMAT:
            raise ValueError(f"its format is {mark['format']}, wanted {FORMAT}")
        return {"rows": int(mark["rows"]), "sha256": str(mark["sha256"])}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{QUARANTINE_DIR}/{path.name} is damaged: {error}") from error


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
