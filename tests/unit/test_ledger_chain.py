"""The chunks that count are found from the newest checkpoint back, or the wrong one is named."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from orchestrator.checkpoint.manifest import ChunkReference, Manifest
from orchestrator.cli.main import main
from orchestrator.errors import CheckpointError, LedgerError
from orchestrator.ledger.chain import read_chain, read_chunk
from orchestrator.ledger.chunk import ChunkFacts
from orchestrator.ledger.description import describe_order, write_description
from orchestrator.ledger.record import RECORD
from orchestrator.ledger.run_order import read_order
from orchestrator.ledger.writer import LedgerWriter
from orchestrator.plan.job import JobPlan
from tests.support.ledgers import FakeRun, chunks_of
from tests.support.orders import rows_between
from tests.support.plans import make_plan, make_spec


@pytest.fixture
def plan() -> JobPlan:
    return make_plan(make_spec(training={"epochs": 3}))


@pytest.fixture
def run(plan: JobPlan, tmp_path: Path) -> FakeRun:
    """Steps 1 to 12 by two ranks, in three chunks."""
    run = FakeRun(plan, tmp_path)
    run.train(2, 12)
    return run


def refused(run: FakeRun, words: str) -> None:
    with pytest.raises(LedgerError, match=words):
        read_chain(run.folder)
    assert main(["audit", str(run.folder)]) == 1


def test_a_chunk_that_is_gone_is_named(run: FakeRun) -> None:
    chunks_of(run.folder)[1].unlink()
    refused(run, "ledger/step-000000008-001.chunk is missing, which ledger/step-000000012-001")


def test_the_newest_chunk_that_is_gone_is_named(run: FakeRun) -> None:
    chunks_of(run.folder)[2].unlink()
    refused(run, "step-000000012-001.chunk is missing, which the checkpoint step-000000012-001")


def test_a_torn_chunk_is_named(run: FakeRun) -> None:
    torn = chunks_of(run.folder)[0]
    torn.write_bytes(torn.read_bytes()[:-5])
    refused(run, "ledger/step-000000004-001.chunk is torn")


def test_a_torn_chunk_that_does_not_count_is_named_too(run: FakeRun) -> None:
    run.train(2, 12, start=8)
    (run.folder / "ledger" / "step-000000012-001.chunk").write_bytes(b"")
    refused(run, "ledger/step-000000012-001.chunk is torn")


def test_an_edited_header_is_found_by_what_follows_it(run: FakeRun) -> None:
    edited = chunks_of(run.folder)[0]
    data = edited.read_bytes()
    edited.write_bytes(data.replace(b'"workers":2', b'"workers":3'))
    refused(run, "step-000000004-001.chunk is not the file that ledger/step-000000008-001.chunk")


def test_a_chunk_from_another_attempt_under_this_name_is_named(run: FakeRun) -> None:
    run.train(3, 12, start=8)
    ours, others = (
        run.folder / "ledger" / f"step-000000012-00{attempt}.chunk" for attempt in (2, 1)
    )
    ours.write_bytes(others.read_bytes())
    refused(run, "ledger/step-000000012-002.chunk is not what its name says, but step-.*-001.chunk")


def rename_ledger(run: FakeRun, reference: ChunkReference) -> None:
    """Lets the newest checkpoint name another chunk."""
    file = max((run.folder / "checkpoints").glob("step-*")) / "MANIFEST.json"
    manifest = Manifest.from_bytes(file.read_bytes())
    file.write_bytes(replace(manifest, ledger=reference).to_bytes())


def test_a_checkpoint_that_names_the_chunk_of_another_step_is_found(run: FakeRun) -> None:
    second = chunks_of(run.folder)[1]
    digest = sha256(second.read_bytes()).hexdigest()
    rename_ledger(run, ChunkReference(name=second.name, sha256=digest))
    refused(run, "008-001.chunk ends at step 8, but the checkpoint step-000000012-001 at step 12")


@pytest.mark.parametrize(
    "name", ["../checkpoints/x", "/etc/passwd", "step-000000012-001.chunk\n", "a/../b.chunk", ""]
)
def test_a_name_that_leaves_the_ledger_is_no_checkpoint(run: FakeRun, name: str) -> None:
    rename_ledger(run, ChunkReference(name=name, sha256="0" * 64))
    chain = read_chain(run.folder)
    # The checkpoint is a damaged one, and the one before it counts.
    assert (chain.checkpoint, chain.steps) == ("step-000000008-001", 8)


def test_chunks_that_leave_a_gap_are_named(run: FakeRun) -> None:
    first = chunks_of(run.folder)[0]
    writer = LedgerWriter(
        run.folder,
        ChunkFacts(
            attempt=1,
            workers=2,
            geometry=run.plan.train.geometry,
            order="strict",
            order_fingerprint=run.plan.fingerprint.digest,
        ),
        parent=ChunkReference(name=first.name, sha256=sha256(first.read_bytes()).hexdigest()),
        first_step=8,
        fence=lambda: None,
    )
    (run.folder / "ledger" / "step-000000012-001.chunk").unlink()
    rename_ledger(run, writer.write(12))
    refused(run, "012-001.chunk begins after step 8, but follows .*004-001.chunk, which ends at")


def test_a_chunk_is_never_written_over_another(run: FakeRun) -> None:
    facts = ChunkFacts(
        attempt=1,
        workers=2,
        geometry=run.plan.train.geometry,
        order="strict",
        order_fingerprint="",
    )
    writer = LedgerWriter(run.folder, facts, parent=None, first_step=8, fence=lambda: None)
    before = chunks_of(run.folder)[2].read_bytes()
    with pytest.raises(CheckpointError, match="it is there already"):
        writer.write(12)
    assert chunks_of(run.folder)[2].read_bytes() == before


def test_an_attempt_that_was_succeeded_writes_no_chunk(run: FakeRun) -> None:
    def fence() -> None:
        raise CheckpointError("attempt 1 has been succeeded")

    facts = ChunkFacts(
        attempt=9,
        workers=2,
        geometry=run.plan.train.geometry,
        order="strict",
        order_fingerprint="",
    )
    writer = LedgerWriter(run.folder, facts, parent=None, first_step=0, fence=fence)
    with pytest.raises(CheckpointError, match="succeeded"):
        writer.write(12)
    assert len(chunks_of(run.folder)) == 3


def test_the_order_of_a_run_is_found_without_its_data(run: FakeRun, plan: JobPlan) -> None:
    found = read_order(run.folder)
    order = plan.train.sample_order()
    for epoch in range(3):
        ours = rows_between(found.order, epoch, 0, 100)
        assert ours.tolist() == rows_between(order, epoch, 0, 100).tolist()
    assert found.place_of(45) == "row 45 (part-1.parquet, row 5)"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "ledger/order.json.gz is missing"),
        (b"", "ledger/order.json.gz is torn"),
        (b"no gzip", "ledger/order.json.gz is torn"),
    ],
)
def test_an_order_that_is_gone_or_torn_is_named(
    run: FakeRun, data: bytes | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run.folder / "ledger" / "order.json.gz"
    if data is None:
        file.unlink()
    else:
        file.write_bytes(data)
    assert main(["audit", str(run.folder)]) == 1
    assert words in capsys.readouterr().err


def test_the_order_of_another_run_is_not_taken_for_this_one(run: FakeRun) -> None:
    other = make_plan(make_spec(seed=8, training={"epochs": 3}))
    write_description(run.folder, describe_order(other))
    assert main(["audit", str(run.folder)]) == 1


def test_a_record_takes_44_bytes() -> None:
    assert RECORD.itemsize == 44


def tear(checkpoint: Path) -> None:
    (checkpoint / "MANIFEST.json").write_bytes(b"{")


def shorten(checkpoint: Path) -> None:
    (checkpoint / "state").write_bytes(b"")


def spoil(checkpoint: Path) -> None:
    state = checkpoint / "state"
    state.write_bytes(b"x" * state.stat().st_size)


def set_aside(checkpoint: Path) -> None:
    checkpoint.parent.joinpath("set-aside").mkdir(exist_ok=True)
    checkpoint.rename(checkpoint.parent / "set-aside" / checkpoint.name)


@pytest.mark.parametrize("damage", [tear, shorten, spoil, set_aside, shutil.rmtree])
def test_steps_that_were_saved_once_are_missed(
    run: FakeRun, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    for checkpoint in (run.folder / "checkpoints").glob("step-*"):
        damage(checkpoint)
    assert main(["audit", str(run.folder)]) == 1
    printed = capsys.readouterr().out
    assert "no checkpoint is left that verifies" in printed
    assert "ledger/step-000000012-001.chunk" in printed
    assert ("the checkpoint step-000000012-001" in printed) == (damage is not shutil.rmtree)
    assert "no step is saved yet" not in printed
    assert main(["audit", str(run.folder), "--json"]) == 1
    assert not json.loads(capsys.readouterr().out)["exact"]
    assert main(["diff", str(run.folder), str(run.folder)]) == 1
    printed = capsys.readouterr().out
    assert "nothing to compare" in printed
    assert "agree on" not in printed


@pytest.mark.parametrize("damage", [tear, shorten, spoil])
def test_a_damaged_checkpoint_is_named_whatever_is_wrong_with_it(
    run: FakeRun, damage: Callable[[Path], None]
) -> None:
    damage(run.folder / "checkpoints" / "step-000000012-001")
    chain = read_chain(run.folder)
    assert (chain.checkpoint, chain.damaged) == ("step-000000008-001", ("step-000000012-001",))


def test_what_is_held_while_a_chunk_is_written_belongs_to_the_next(run: FakeRun) -> None:
    facts = ChunkFacts(
        attempt=2,
        workers=1,
        geometry=run.plan.train.geometry,
        order="strict",
        order_fingerprint="",
    )
    writer = LedgerWriter(run.folder, facts, parent=None, first_step=12, fence=lambda: None)
    records = np.zeros(3, dtype=RECORD)
    records["step"] = (12, 13, 14)
    writer.hold([records[:2]])
    writer.seal()
    writer.hold([records[2:]])
    first = read_chunk(run.folder / "ledger", writer.write_sealed(14).name)
    second = read_chunk(run.folder / "ledger", writer.write(15).name)
    assert first.records()["step"].tolist() == [12, 13]
    assert second.records()["step"].tolist() == [14]


def test_a_step_that_is_saved_again_has_the_chunk_that_it_has(run: FakeRun) -> None:
    facts = ChunkFacts(
        attempt=2,
        workers=1,
        geometry=run.plan.train.geometry,
        order="strict",
        order_fingerprint="",
    )
    writer = LedgerWriter(run.folder, facts, parent=None, first_step=12, fence=lambda: None)
    record = np.zeros(1, dtype=RECORD)
    record["step"] = 12
    writer.hold([record])
    first = writer.write(13)
    # As a checkpoint that failed, and a loop that goes on trying.
    writer.hold([record[:0]])
    assert writer.write(13) == first
    record["step"] = 13
    writer.hold([record])
    name = writer.write(14).name
    assert read_chunk(run.folder / "ledger", name).header.parent == first
