"""What a ledger gives out: a table of all of it, the rows of a step."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.cli.main import main
from orchestrator.errors import LedgerError
from orchestrator.ledger.export import export_ledger
from orchestrator.ledger.record import Records, join_records
from orchestrator.plan.job import JobPlan
from tests.support.ledgers import FakeRun, exported, forget_ledger
from tests.support.orders import rows_between
from tests.support.plans import make_plan, make_spec

COLUMNS = {
    "attempt": "int32",
    "epoch": "int32",
    "step": "int64",
    "rank": "int32",
    "row": "int64",
    "part": "int32",
    "status": "string",
    "effective": "bool",
}


@pytest.fixture
def plan() -> JobPlan:
    return make_plan(make_spec(training={"epochs": 2}, scaling={"superblock_steps": 2}))


@pytest.fixture
def run(plan: JobPlan, tmp_path: Path) -> FakeRun:
    """Two epochs of nine steps: two ranks up to step 8, three from step 4 on."""
    run = FakeRun(plan, tmp_path)
    run.train(2, 8)
    run.train(3, 18, start=4)
    return run


def test_the_table_has_the_promised_columns_and_no_others(run: FakeRun) -> None:
    table = exported(run.folder)
    assert {field.name: str(field.type) for field in table.schema} == COLUMNS


def test_the_table_says_where_each_row_was_trained(run: FakeRun, plan: JobPlan) -> None:
    """By the order alone, and by nothing that writes or reads a ledger."""
    table = exported(run.folder).to_pandas()
    assert set(table["status"]) == {"used"}
    order, geometry = plan.train.sample_order(), plan.train.geometry
    counts = table[table["effective"]]
    assert counts["step"].is_monotonic_increasing
    assert len(counts) == 2 * 100
    for (epoch, step), batch in counts.groupby(["epoch", "step"]):
        at = (step - 1) % 9 * 12
        assert epoch == (step - 1) // 9
        assert batch["row"].tolist() == rows_between(order, epoch, at, at + 12).tolist()
        workers, attempt = (2, 1) if step <= 4 else (3, 2)
        assert set(batch["attempt"]) == {attempt}
        spans = [geometry.rank_span((step - 1) % 9, rank, workers) for rank in range(workers)]
        sizes = [stop - start for start, stop in spans]
        assert batch["rank"].tolist() == np.repeat(np.arange(workers), sizes).tolist()


def test_what_was_done_again_is_there_and_does_not_count(run: FakeRun) -> None:
    table = exported(run.folder).to_pandas()
    lost = table[~table["effective"]]
    assert (set(lost["attempt"]), set(lost["step"])) == ({1}, {5, 6, 7, 8})
    again = table[table["effective"] & table["step"].between(5, 8)]
    assert lost["row"].tolist() == again["row"].tolist()


def test_a_file_is_whole_or_as_it_was(run: FakeRun, tmp_path: Path) -> None:
    file = tmp_path / "out.parquet"
    file.write_text("mine")

    def forget(_: int, records: Records) -> Records:
        return records[1:]

    run.train(2, 18, start=16, edit=forget)
    with pytest.raises(LedgerError, match=r"step-000000018-003.chunk has another step of rank 0"):
        export_ledger(run.folder, file)
    assert file.read_text() == "mine"
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("rank", [0, 7])
def test_a_record_too_many_is_not_left_out_silently(run: FakeRun, rank: int) -> None:
    def more(_: int, records: Records) -> Records:
        last = records[-1:].copy()
        last["rank"] = rank
        return join_records([records, last])

    run.train(1, 18, start=16, edit=more)
    with pytest.raises(LedgerError, match=r"step-000000018-003\.chunk has "):
        exported(run.folder)


def test_a_place_that_cannot_be_written_is_named(
    run: FakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", str(run.folder), "--export", str(tmp_path / "no" / "f")]) == 4
    assert "cannot write" in capsys.readouterr().err


def test_the_verb_exports_and_tells_how_much(
    run: FakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "out.parquet"
    assert main(["ledger", str(run.folder), "--export", str(file)]) == 0
    assert "out.parquet: 248 lines" in capsys.readouterr().out
    assert pq.read_table(file).num_rows == 248


def test_without_an_option_it_lists_the_chunks(
    run: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", str(run.folder)]) == 0
    printed = capsys.readouterr().out
    assert "18 steps in 5 chunks" in printed
    assert "step-000000004-001.chunk  steps 1 to 4, attempt 1, 2 workers" in printed
    assert "step-000000008-001.chunk  does not count" in printed
    assert main(["ledger", str(run.folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [chunk["last_step"] for chunk in found["chunks"]] == [4, 8, 12, 16, 18, 8]


def test_the_rows_of_a_step_are_shown_with_file_and_position(
    run: FakeRun, plan: JobPlan, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", str(run.folder), "--step", "9", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["rows"]
    rows = rows_between(plan.train.sample_order(), 0, 96, 108).tolist()
    assert [row["row"] for row in found] == rows
    # Four rows of twelve lanes: one for the first rank's, and nothing for the last.
    assert [row["rank"] for row in found] == [0] * 4
    for row in found:
        path, position = plan.train.index.locate(row["row"])
        assert (f"/data/{row['file']}", row["position"]) == (path, position)
    assert main(["ledger", str(run.folder), "--step", "9"]) == 0
    assert f"{found[0]['position']}  {found[0]['file']}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("step", "words"), [("19", "step 19 is not in the ledger, which has 18 steps"), ("0", "from 1")]
)
def test_a_step_that_is_not_there_is_refused(
    run: FakeRun, step: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", str(run.folder), "--step", step]) == 1
    assert words in capsys.readouterr().err


def test_a_run_without_a_checkpoint_exports_an_empty_table(plan: JobPlan, tmp_path: Path) -> None:
    run = FakeRun(plan, tmp_path)
    assert exported(run.folder).schema == pa.schema(exported(run.folder).schema)
    assert exported(run.folder).num_rows == 0


def test_what_was_trained_before_a_time_without_a_ledger_counts(
    plan: JobPlan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = FakeRun(plan, tmp_path)
    run.train(2, 12)
    run.train(2, 10, start=8)
    forget_ledger(tmp_path)
    run.train(3, 18)
    table = exported(tmp_path).to_pandas()
    counts = table[table["effective"]]
    assert sorted(set(counts["step"])) == list(range(1, 19))
    assert not counts.duplicated(["epoch", "row"]).any()
    assert set(table[~table["effective"]]["step"]) == {9, 10, 11, 12}
    assert main(["ledger", str(tmp_path), "--step", "2"]) == 0
    assert main(["ledger", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("before steps of which nothing is known") == 3


def test_a_chunk_of_another_order_beside_the_chain_is_left_out(
    plan: JobPlan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_plan(make_spec(seed=8, training={"epochs": 2}, scaling={"superblock_steps": 2}))
    FakeRun(other, tmp_path).train(2, 4)
    shutil.rmtree(tmp_path / "checkpoints")
    FakeRun(plan, tmp_path).train(2, 18)
    file = tmp_path / "out.parquet"
    assert main(["ledger", str(tmp_path), "--export", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "out.parquet: 200 lines" in printed
    assert "left out, as written under another order: ledger/step-000000004-001.chunk" in printed


def test_a_directory_to_export_into_is_refused(
    run: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", str(run.folder), "--export", "."]) == 1
    assert "--export . is a directory, wanted the name of a file" in capsys.readouterr().err
