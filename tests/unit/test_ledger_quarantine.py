"""What the ledger says of quarantined rows: each accounted for once, and listed."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.cli.main import main
from orchestrator.data.quarantine_file import BadRow, dump_bad_rows
from orchestrator.data.quarantine_mark import count_quarantined, mark_file, table_file
from orchestrator.errors import DataError
from orchestrator.ledger.audit import audit_run
from orchestrator.plan.job import JobPlan
from orchestrator.plan.origins import Counts
from orchestrator.plan.quarantine import quarantined_rows
from orchestrator.report.happenings import of_event
from orchestrator.report.records import Event
from orchestrator.run.quarantine import check_budget
from tests.support.ledgers import FakeRun, exported
from tests.support.plans import make_index, make_plan, make_spec

COUNTS = np.array([1, -1, 1, 0] * 10, dtype=np.int32)


def counted_plan(counts: Counts, most: object = "90%") -> JobPlan:
    spec = make_spec(
        dataset={"on_error": "quarantine", "max_errors": most},
        transforms=[{"use": "pkg.code:change", "kind": "filter"}],
        scaling={"superblock_steps": 2},
    )
    half = len(counts) // 2
    return make_plan(spec, train=make_index((half, len(counts) - half))).counted({"train": counts})


def listed(plan: JobPlan, folder: Path, rows: list[int]) -> None:
    bad = [BadRow(row=row, stage="read", error="x") for row in rows]
    (folder / "quarantine").mkdir(exist_ok=True)
    table, mark = dump_bad_rows(bad, plan.train.index, Path("/data"))
    (folder / table_file("train")).write_bytes(table)
    (folder / mark_file("train")).write_bytes(mark.to_bytes())


def finished(folder: Path, counts: Counts = COUNTS) -> JobPlan:
    plan = counted_plan(counts)
    FakeRun(plan, folder, counts=counts).train(2, plan.total_steps)
    listed(plan, folder, quarantined_rows(counts).tolist())
    return plan


@settings(max_examples=15, deadline=None)
@given(
    counts=st.lists(st.integers(-1, 1), min_size=2, max_size=60).filter(lambda c: 1 in c),
    data=st.data(),
)
def test_what_was_seen_dropped_and_quarantined_is_all_there_is(
    counts: list[int], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made, folder = np.array(counts, dtype=np.int32), tmp_path_factory.mktemp("run")
    plan = counted_plan(made, most=len(counts))
    run = FakeRun(plan, folder, counts=made)
    listed(plan, folder, quarantined_rows(made).tolist())
    run.train(data.draw(st.integers(1, 4)), data.draw(st.integers(1, plan.total_steps)))
    run.train(data.draw(st.integers(1, 4)), plan.total_steps)
    audit = audit_run(folder)
    assert audit.problems == ()
    assert len(audit.epochs) == 2
    for account in audit.epochs:
        assert account.quarantined == counts.count(-1)
        assert account.filtered == counts.count(0)
        assert account.used == counts.count(1)
        assert account.expected == len(counts)
        assert (account.missing, account.repeated) == (0, 0)
    # And from the exported table alone.
    table = exported(folder).to_pandas()
    for epoch in range(2):
        of_epoch = table[table["effective"] & (table["epoch"] == epoch)]
        assert sorted(of_epoch["row"]) == list(range(len(counts)))
        bad = of_epoch[of_epoch["status"] == "quarantined"]["row"]
        assert bad.tolist() == np.flatnonzero(made == -1).tolist()


def test_the_audit_prints_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished(tmp_path)
    assert main(["audit", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "epoch  expected  used  filtered  missing  repeated  quarantined" in printed
    assert "1-2        40    20        10        0         0           10" in printed


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / table_file("train")).unlink(), "train.parquet or its mark is missing"),
        (
            lambda f: (f / table_file("train")).write_bytes(b"x"),
            "quarantine/train.parquet does not match its mark",
        ),
        (lambda f: (f / mark_file("train")).write_text("{"), "quarantine/train.json is damaged"),
        (
            lambda f: (f / mark_file("train")).unlink(),
            "10 rows are left out as bad, but quarantine",
        ),
    ],
)
def test_rows_left_out_without_being_listed_are_a_problem(
    tmp_path: Path, damage: object, message: str
) -> None:
    finished(tmp_path)
    damage(tmp_path)  # type: ignore[operator]
    problems = [problem.message for problem in audit_run(tmp_path).problems]
    assert len(problems) == 1
    assert message in problems[0]


def test_another_row_in_the_list_is_a_problem(tmp_path: Path) -> None:
    plan = finished(tmp_path)
    listed(plan, tmp_path, [2, *range(5, 40, 4)])
    (problem,) = audit_run(tmp_path).problems
    assert problem.message == (
        "10 rows are left out as bad, but quarantine/train.parquet lists other rows, 10 of them"
    )


def test_a_list_says_where_each_row_lies_and_is_the_same_each_time(tmp_path: Path) -> None:
    plan = counted_plan(COUNTS)
    listed(plan, tmp_path, [3, 25])
    first = (tmp_path / table_file("train")).read_bytes()
    listed(plan, tmp_path, [3, 25])
    assert (tmp_path / table_file("train")).read_bytes() == first
    assert pq.read_table(tmp_path / table_file("train")).to_pylist()[1] == {
        "row": 25,
        "file": "part-1.parquet",
        "row_group": 0,
        "row_in_group": 5,
        "row_in_file": 5,
        "stage": "read",
        "error": "x",
    }
    assert count_quarantined(tmp_path) == {"train": 2}
    mark = json.loads((tmp_path / mark_file("train")).read_text())
    assert (mark["format"], mark["rows"]) == (1, 2)


def test_a_budget_that_was_lowered_is_held_to_what_is_known() -> None:
    check_budget(counted_plan(COUNTS, most=10).train, COUNTS)
    with pytest.raises(
        DataError, match=r"10 of the 40 rows of dataset\.train are quarantined, and 9"
    ):
        check_budget(counted_plan(COUNTS, most=9).train, COUNTS)


def test_the_event_says_how_many_rows_and_where_they_are_listed() -> None:
    fields = {"split": "train", "rows": 3, "of_rows": 1000, "file": table_file("train")}
    event = Event(time=0.0, event="quarantined", fields=fields)
    told = of_event(event, total_steps=9)
    assert told.word == "quarantined"
    assert told.details == "train rows: 3 of 1,000, listed in quarantine/train.parquet"
