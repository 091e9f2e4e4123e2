"""A chunk is read back as it was written, or it is refused with the reason."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.checkpoint.manifest import ChunkReference
from orchestrator.errors import LedgerError
from orchestrator.ledger.chunk import ChunkFacts, dump_chunk, parse_header, parse_records
from orchestrator.ledger.record import RECORD, Records
from orchestrator.plan.geometry import StreamGeometry

NAME = "step-000000008-003.chunk"
CUTS = StreamGeometry(rows=100, batch=12, lanes=12, superblock_steps=3, window_steps=9)
PARENT = ChunkReference.of(4, 2, "0" * 64)


def records_of(count: int) -> Records:
    records = np.zeros(count, dtype=RECORD)
    records["step"] = np.arange(count)
    records["digest"] = np.frombuffer(bytes(range(count)) * 8, dtype="V8")[:count]
    return records


def chunk(count: int = 5, *, cuts: StreamGeometry = CUTS) -> bytes:
    facts = ChunkFacts(
        attempt=3, workers=2, geometry=cuts, order="strict", order_fingerprint="f" * 64
    )
    return dump_chunk(records_of(count), facts, first_step=4, last_step=8, parent=PARENT)


def with_header(data: bytes, **changes: object) -> bytes:
    line, _, body = data.partition(b"\n")
    header = {**json.loads(line), **changes}
    kept = {name: value for name, value in header.items() if value is not ...}
    return json.dumps(kept).encode() + b"\n" + body


@pytest.mark.parametrize("count", [0, 1, 200])
def test_a_chunk_is_read_as_it_was_written(count: int) -> None:
    header, records = parse_records(chunk(count), NAME)
    np.testing.assert_array_equal(records, records_of(count))
    assert (header.name, header.attempt, header.first_step, header.last_step) == (NAME, 3, 4, 8)
    assert (header.geometry, header.parent) == (CUTS, PARENT)


@given(st.data())
def test_a_chunk_that_is_cut_short_or_has_another_byte_is_refused(data: st.DataObject) -> None:
    whole = chunk()
    place = data.draw(st.integers(whole.index(b"\n") + 1, len(whole) - 1))
    other = bytearray(whole)
    other[place] ^= data.draw(st.integers(1, 255))
    for torn in (whole[:place], whole + b"x", bytes(other)):
        with pytest.raises(LedgerError, match=f"^ledger/{NAME} is (torn|not as it was written)"):
            parse_records(torn, NAME)


@pytest.mark.parametrize("stop", [0, 1, 100])
def test_a_header_that_is_cut_short_is_refused(stop: int) -> None:
    with pytest.raises(LedgerError, match=f"ledger/{NAME} is torn: its first line has no end"):
        parse_header(chunk()[:stop], NAME)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda d: with_header(d, workers=0), "is no chunk of a ledger: workers"),
        (lambda d: with_header(d, workers="2"), "is no chunk of a ledger: workers"),
        (lambda d: with_header(d, order=...), "is no chunk of a ledger: order"),
        (lambda d: with_header(d, order="any"), "is no chunk of a ledger: order"),
        (lambda d: with_header(d, format=2), "has format 2, wanted 1"),
        (lambda d: with_header(d, attempt=4), "is not what its name says"),
        (lambda d: with_header(d, first_step=8), "ends at step 8, before it begins"),
        (lambda d: with_header(d, records=6), "does not hold the 6 records"),
        (lambda d: with_header(d, records=4), "does not hold the 4 records"),
        (lambda d: with_header(d, parent={"name": "../x.chunk", "sha256": "0" * 64}), "parent"),
        (lambda d: with_header(d, parent={"name": "/etc/x", "sha256": "0" * 64}), "parent"),
        (lambda d: b"[" * 5000 + b"\n", "is no chunk of a ledger"),
        (lambda d: b"\xff\xfe\n", "is no chunk of a ledger"),
    ],
)
def test_a_header_that_cannot_be_is_refused(edit: Callable[[bytes], bytes], words: str) -> None:
    with pytest.raises(LedgerError, match=words) as caught:
        parse_records(edit(chunk()), NAME)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    "cuts",
    [
        StreamGeometry(rows=0, batch=12, lanes=12, superblock_steps=3, window_steps=9),
        StreamGeometry(rows=100, batch=12, lanes=5, superblock_steps=3, window_steps=9),
        StreamGeometry(rows=100, batch=12, lanes=12, superblock_steps=4, window_steps=9),
    ],
)
def test_cuts_that_cannot_be_are_refused(cuts: StreamGeometry) -> None:
    with pytest.raises(LedgerError, match="geometry: "):
        parse_header(chunk(cuts=cuts), NAME)
