"""Steps that a rewind left out are in the ledger, accounted for and not counted as used."""

import json
from pathlib import Path

import numpy as np
import pytest

from orchestrator.cli.main import main
from orchestrator.errors import LedgerError
from orchestrator.ledger.audit import audit_run
from orchestrator.ledger.chain import read_chain
from orchestrator.ledger.chunk import parse_header
from orchestrator.ledger.replay import walk
from orchestrator.ledger.run_order import read_order
from tests.support.ledgers import FakeRun, chunks_of, exported
from tests.support.plans import make_index, make_plan, make_spec

# 100 rows in batches of 12: 9 steps an epoch, the last of 4 rows.
STEPS = 9


@pytest.fixture(params=["strict", "relaxed"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> FakeRun:
    spec = make_spec(
        dataset={"shuffle": {"type": "window", "rows": 36}},
        training={"epochs": 3},
        scaling={"superblock_steps": 3},
    )
    run = FakeRun(make_plan(spec, train=make_index((40, 60))), tmp_path, request.param)
    run.train(2, STEPS, left_out={4, 8})
    run.train(3, 2 * STEPS + 2, left_out={2 * STEPS})
    return run


def test_their_rows_are_accounted_for_as_skipped(run: FakeRun) -> None:
    audit = audit_run(run.folder)
    assert audit.problems == ()
    short = 4 if run.order == "strict" else 12
    accounts = [(e.used, e.skipped, e.missing, e.repeated) for e in audit.epochs]
    assert accounts[1:] == [(100, 0, 0, 0), (12, 12, 0, 0)]
    assert accounts[0] == (100 - 12 - short, 12 + short, 0, 0)


def test_each_step_that_was_left_out_is_named(
    run: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    order, chunks = read_order(run.folder), read_chain(run.folder).effective
    skipped = [step.step for chunk in chunks for step in walk(order, chunk) if step.skipped]
    assert skipped == [4, 8, 2 * STEPS]
    assert main(["audit", str(run.folder)]) == 0
    printed = capsys.readouterr().out
    assert "skipped   step 5, 9, 19: left out by a rewind" in printed
    assert "each row exactly once in each epoch" in printed
    assert main(["audit", str(run.folder), "--json"]) == 0
    assert [e["skipped"] for e in json.loads(capsys.readouterr().out)["epochs"]][1:] == [0, 12]


def test_the_exported_table_says_which_rows_were_skipped(run: FakeRun) -> None:
    table = exported(run.folder).to_pandas()
    skipped = table[table["status"] == "skipped"]
    assert sorted(set(skipped["step"])) == [5, 9, 2 * STEPS + 1]
    first = table[table["epoch"] == 0]
    np.testing.assert_array_equal(np.sort(first["row"]), np.arange(100))


def test_a_step_that_the_chunk_does_not_have_cannot_have_been_left_out(run: FakeRun) -> None:
    path = next(path for path in chunks_of(run.folder) if b'"skipped":[4' in path.read_bytes())
    data = path.read_bytes().replace(b'"skipped":[4', b'"skipped":[40')
    with pytest.raises(LedgerError, match="steps were left out which it does not have"):
        parse_header(data, path.name)


def test_a_chunk_without_such_steps_is_written_as_ever(run: FakeRun) -> None:
    heads = [path.read_bytes().partition(b"\n")[0] for path in chunks_of(run.folder)]
    assert sum(b"skipped" in head for head in heads) < len(heads)
