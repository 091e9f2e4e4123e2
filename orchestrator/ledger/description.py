"""The order of a run as a file: with it, what each step must hold follows without data or code."""

import gzip
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, TypeAdapter, ValidationError

from orchestrator.checkpoint.files import storage_errors
from orchestrator.errors import LedgerError
from orchestrator.ledger.files import LEDGER_DIR, ledger_dir, write_whole
from orchestrator.plan.counting import Counting
from orchestrator.plan.index import DatasetIndex, Fragment
from orchestrator.plan.job import JobPlan
from orchestrator.plan.sources import Mixture
from orchestrator.redaction.redactor import Redactor

ORDER_FILE = "order.json.gz"

Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Packing:
    """How transforms change the number of rows; as `plan.counting.Counting` has it."""

    parts: bool
    packed: bool
    length: Positive


@dataclass(frozen=True, kw_only=True)
class Description:
    """What decides which rows are in which step.

    `files` are the paths of the data, relative to the job's working directory where they lie in
    it, with the variables of the environment that they were made of; a fragment is (number of its
    file, row group, rows). `parts` are those of the order
    fingerprint, so that a difference between two runs has a name.
    """

    FORMAT: ClassVar[int] = 1

    files: tuple[str, ...]
    fragments: tuple[tuple[int, int, int], ...]
    batch: Positive
    total_steps: Positive
    window_rows: Positive
    seed: int
    shuffle_fragments: bool
    shuffle_rows: bool
    mixture: Mixture | None
    packing: Packing | None
    fingerprint: str
    parts: Mapping[str, str]
    format: int = FORMAT

    @cached_property
    def index(self) -> DatasetIndex:
        """The data set's fragments, without sizes and columns."""
        return DatasetIndex(
            fragments=tuple(
                Fragment(path=self.files[file], row_group=group, rows=rows, bytes=0)
                for file, group, rows in self.fragments
            ),
            columns=(),
        )


def describe_order(plan: JobPlan) -> Description:
    """The description of a plan whose rows have been counted."""
    stream = plan.train
    root = plan.spec.runtime.data_root.rstrip("/") + "/"
    files = list(dict.fromkeys(fragment.path for fragment in stream.index.fragments))
    numbers = {path: number for number, path in enumerate(files)}
    counting = stream.counting
    redactor = Redactor(plan.spec.variables)
    return Description(
        files=tuple(redactor.text(path.removeprefix(root)) for path in files),
        fragments=tuple((numbers[f.path], f.row_group, f.rows) for f in stream.index.fragments),
        batch=stream.geometry.batch,
        total_steps=plan.total_steps,
        window_rows=stream.geometry.window_steps * stream.geometry.batch,
        seed=stream.seed,
        shuffle_fragments=stream.shuffle_fragments,
        shuffle_rows=stream.shuffle_rows,
        mixture=stream.mixture,
        packing=None if counting is None else _packing(counting),
        fingerprint=plan.fingerprint.digest,
        parts=dict(plan.fingerprint.parts),
    )


def _packing(counting: Counting) -> Packing:
    return Packing(parts=counting.parts, packed=counting.packed, length=counting.length)


def write_description(run_dir: Path, description: Description) -> None:
    """Writes the description into the run's ledger, in the place of an older one."""
    content = asdict(description)
    document = {"checksum": _checksum(content), **content}
    text = json.dumps(document, separators=(",", ":"))
    # Without a time in it: the same order is the same file.
    write_whole(ledger_dir(run_dir) / ORDER_FILE, gzip.compress(text.encode(), mtime=0))


def read_description(run_dir: Path) -> Description:
    """What `write_description` wrote.

    Raises:
        LedgerError: it is missing, torn or edited.
    """
    path = ledger_dir(run_dir) / ORDER_FILE
    shown = f"{LEDGER_DIR}/{path.name}"
    if not path.is_file():
        raise LedgerError(
            f"{shown} is missing: without it nobody can say which rows a step must hold",
            hint="a run keeps a ledger unless checkpoint.ledger is false",
        )
    with storage_errors("read", path):
        data = path.read_bytes()
    try:
        content = json.loads(gzip.decompress(data))
        checksum = content.pop("checksum")
    except (OSError, EOFError, zlib.error, ValueError, KeyError, AttributeError) as error:
        raise LedgerError(f"{shown} is torn: {error}") from error
    if checksum != _checksum(content):
        raise LedgerError(f"{shown} does not match its own checksum")
    try:
        # As JSON, where a list may stand for a tuple.
        return _ADAPTER.validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise LedgerError(f"{shown} describes no order: {where}: {problem['msg']}") from error


def _checksum(content: Mapping[str, object]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


_ADAPTER = TypeAdapter(Description)
