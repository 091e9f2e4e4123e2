"""A benchmark's result as a file: what was found, by which command, when, and on what."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from benchmarks.harness.machine import Machine
from benchmarks.harness.outcome import Outcome


@dataclass(frozen=True, kw_only=True)
class Record:
    """An outcome and where it comes from; `about` says what was measured."""

    outcome: Outcome
    about: str
    command: str
    commit: str
    date: str
    seconds: float
    quick: bool
    machine: Machine


class BadRecordError(Exception):
    """A file is not the result of a benchmark."""


def write_record(record: Record, folder: Path) -> Path:
    """Writes NAME.json into a folder, whole or not at all."""
    return write_whole(
        folder / f"{record.outcome.name}.json", json.dumps(asdict(record), indent=1) + "\n"
    )


def read_records(folder: Path) -> dict[str, Record]:
    """The results in a folder by the name of their benchmark.

    Raises:
        BadRecordError: a file is not one.
    """
    adapter = TypeAdapter(Record)
    records = {}
    for path in sorted(folder.glob("*.json")):
        try:
            records[path.stem] = adapter.validate_json(path.read_bytes())
        except ValidationError as error:
            raise BadRecordError(f"{path}: not the result of a benchmark: {error}") from error
    return records


def write_whole(path: Path, text: str) -> Path:
    """Writes a file beside its place and moves it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f"{path.name}.new")
    staged.write_text(text, encoding="utf-8")
    return staged.replace(path)
