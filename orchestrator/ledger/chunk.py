"""A chunk of the ledger as a file: a line of JSON that says what follows, then records."""

import hashlib
import json
import zlib
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from orchestrator.checkpoint.manifest import ChunkReference, chunk_name
from orchestrator.errors import LedgerError
from orchestrator.ledger.files import LEDGER_DIR
from orchestrator.ledger.record import RECORD, Records
from orchestrator.plan.geometry import StreamGeometry

OrderKind = Literal["strict", "relaxed"]

Positive = Annotated[int, Field(ge=1)]


def _cuts(geometry: StreamGeometry) -> StreamGeometry:
    if min(geometry.rows, geometry.batch, geometry.lanes, geometry.superblock_steps) < 1:
        raise ValueError("has a size below 1")
    if geometry.batch % geometry.lanes or geometry.window_steps % geometry.superblock_steps:
        raise ValueError("has lanes or superblocks that do not divide")
    return geometry


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkHeader:
    """What a chunk says of itself: the steps [first_step, last_step) of one attempt.

    `order_fingerprint` is that of the plan. `parent` is the chunk before it, None where the ledger
    begins. `skipped` are steps that were left out: their records say what would have been trained.
    `size` and `sha256` are those of the compressed records.
    """

    FORMAT: ClassVar[int] = 1

    attempt: Positive
    first_step: Annotated[int, Field(ge=0)]
    last_step: Positive
    workers: Positive
    geometry: Annotated[StreamGeometry, AfterValidator(_cuts)]
    order: OrderKind
    order_fingerprint: str
    parent: ChunkReference | None
    records: Annotated[int, Field(ge=0)]
    size: Annotated[int, Field(ge=0)]
    sha256: str
    skipped: tuple[int, ...] = ()
    format: int = FORMAT

    @property
    def name(self) -> str:
        """The name of its file."""
        return chunk_name(self.last_step, self.attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkFacts:
    """What the records of one attempt have in common."""

    attempt: int
    workers: int
    geometry: StreamGeometry
    order: OrderKind
    order_fingerprint: str


_ADAPTER = TypeAdapter(ChunkHeader)


def dump_chunk(
    records: Records,
    facts: ChunkFacts,
    *,
    first_step: int,
    last_step: int,
    parent: ChunkReference | None,
    skipped: tuple[int, ...] = (),
) -> bytes:
    """The content of a chunk's file."""
    body = zlib.compress(np.ascontiguousarray(records).tobytes(), 9)
    header = ChunkHeader(
        attempt=facts.attempt,
        first_step=first_step,
        last_step=last_step,
        workers=facts.workers,
        geometry=facts.geometry,
        order=facts.order,
        order_fingerprint=facts.order_fingerprint,
        parent=parent,
        records=len(records),
        size=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        skipped=skipped,
    )
    # Not where there is none, so that the chunks of most runs are read by earlier versions too.
    said = {name: value for name, value in asdict(header).items() if name != "skipped" or value}
    return json.dumps(said, separators=(",", ":")).encode() + b"\n" + body


def parse_header(data: bytes, name: str) -> ChunkHeader:
    """The header of a chunk whose body is as it was written.

    Raises:
        LedgerError: these are not the bytes of the chunk with this name, or not all of them.
    """
    shown = f"{LEDGER_DIR}/{name}"
    line, end, body = data.partition(b"\n")
    if not end:
        raise LedgerError(f"{shown} is torn: its first line has no end")
    try:
        header = _ADAPTER.validate_json(line, strict=True)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        what = f"{where}: {problem['msg']}" if where else problem["msg"]
        raise LedgerError(f"{shown} is no chunk of a ledger: {what}") from error
    if header.format != ChunkHeader.FORMAT:
        raise LedgerError(f"{shown} has format {header.format}, wanted {ChunkHeader.FORMAT}")
    if header.name != name:
        raise LedgerError(f"{shown} is not what its name says, but {header.name}")
    if header.first_step >= header.last_step:
        raise LedgerError(f"{shown} ends at step {header.last_step}, before it begins")
    if any(not header.first_step <= step < header.last_step for step in header.skipped):
        raise LedgerError(f"{shown} says that steps were left out which it does not have")
    if len(body) != header.size:
        raise LedgerError(f"{shown} is torn: {len(body)} bytes follow, wanted {header.size}")
    if hashlib.sha256(body).hexdigest() != header.sha256:
        raise LedgerError(f"{shown} is not as it was written: its records have another SHA-256")
    return header


def parse_records(data: bytes, name: str) -> tuple[ChunkHeader, Records]:
    """The header and the records of a chunk.

    Raises:
        LedgerError: these are not the bytes of the chunk with this name, or not all of them.
    """
    header = parse_header(data, name)
    shown = f"{LEDGER_DIR}/{name}"
    wanted = header.records * RECORD.itemsize
    try:
        # Bounded: what a few bytes expand to is not for the file to decide.
        body = zlib.decompressobj().decompress(data[data.index(b"\n") + 1 :], wanted + 1)
    except zlib.error as error:
        raise LedgerError(f"{shown} holds no records: {error}") from error
    if len(body) != wanted:
        raise LedgerError(f"{shown} does not hold the {header.records} records that it says")
    return header, np.frombuffer(body, dtype=RECORD)
