"""The mark that a table of quarantined rows counts, read without what wrote the table.

quarantine/train.parquet    a line for each row: file, position, what failed and how
quarantine/train.json       written last: how many rows, and SHA-256 of their numbers and the table
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

QUARANTINE_DIR = "quarantine"
FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """What is marked: `rows` is their number, `row_numbers` and `sha256` are digests."""

    rows: int
    row_numbers: str
    sha256: str
    format: int = FORMAT

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


def table_file(split: str) -> str:
    """The name of a split's table in the run's directory."""
    return f"{QUARANTINE_DIR}/{split}.parquet"


def mark_file(split: str) -> str:
    """The name of the mark that the table counts."""
    return f"{QUARANTINE_DIR}/{split}.json"


def sha256(data: bytes) -> str:
    """As it stands in a mark; of row numbers, of their bytes as int64, little-endian."""
    return hashlib.sha256(data).hexdigest()


def read_mark(run_dir: Path, split: str) -> Mark | None:
    """The mark of a split's table; None where there is none.

    Raises:
        ValueError: it is damaged.
        OSError: it cannot be read.
    """
    path = run_dir / mark_file(split)
    if not path.is_file():
        return None
    try:
        fields = json.loads(path.read_bytes())
        if fields["format"] != FORMAT:
            raise ValueError(f"its format is {fields['format']}, wanted {FORMAT}")
        return Mark(
            rows=int(fields["rows"]),
            row_numbers=str(fields["row_numbers"]),
            sha256=str(fields["sha256"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{mark_file(split)} is damaged: {error}") from error


def count_quarantined(run_dir: Path) -> Mapping[str, int]:
    """How many rows of each split are quarantined, as the marks say.

    Raises:
        ValueError: a mark is damaged.
        OSError: it cannot be read.
    """
    marks = {split: read_mark(run_dir, split) for split in ("train", "validation")}
    return {split: mark.rows for split, mark in marks.items() if mark is not None}
