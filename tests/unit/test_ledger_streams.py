"""The ledger of streams that are more than one sample a row: filtered, cut, packed and mixed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.cli.main import main
from orchestrator.ledger.audit import audit_run
from orchestrator.ledger.diff import compare_runs
from orchestrator.ledger.record import Records
from orchestrator.plan.accounts import EpochOrigins
from orchestrator.plan.index import Column, DatasetIndex, Fragment, IndexedSource
from orchestrator.plan.job import JobPlan
from orchestrator.plan.origins import Counts, Origins
from tests.support.ledgers import FakeRun, assert_exact, exported
from tests.support.plans import make_index, make_plan, make_spec

KINDS = ["filter", "flat_map", "pack"]
PACKED = {"use": "pkg.code:change", "kind": "pack", "length": 7}


def counted_plan(kind: str, counts: Counts, **sections: object) -> JobPlan:
    transform = PACKED if kind == "pack" else {"use": "pkg.code:change", "kind": kind}
    spec = make_spec(
        dataset={"shuffle": {"type": "window", "rows": "all"}},
        transforms=[transform],
        scaling={"superblock_steps": 2},
        **sections,
    )
    half = len(counts) // 2
    plan = make_plan(spec, train=make_index((half, len(counts) - half)))
    return plan.counted({"train": counts})


@st.composite
def counts_for(draw: st.DrawFn, kind: str) -> Counts:
    most = 1 if kind == "filter" else 3 if kind == "flat_map" else 20
    values = st.lists(st.integers(0, most), min_size=2, max_size=60).filter(any)
    return np.array(draw(values), dtype=np.int32)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_each_row_has_one_account_whatever_becomes_of_it(
    kind: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    counts = data.draw(counts_for(kind))
    plan = counted_plan(kind, counts)
    order = data.draw(st.sampled_from(["strict", "relaxed"]))
    run = FakeRun(plan, tmp_path_factory.mktemp("run"), order, counts)
    run.train(data.draw(st.integers(1, 4)), data.draw(st.integers(1, plan.total_steps)))
    run.train(data.draw(st.integers(1, 4)), plan.total_steps)
    audit = audit_run(run.folder)
    assert audit.problems == ()
    for account in audit.epochs:
        assert account.filtered == np.count_nonzero(counts == 0)
        assert (account.used, account.missing) == (np.count_nonzero(counts), 0)
    per_epoch = plan.train.geometry.steps_per_epoch
    assert assert_exact(run.folder, rows=len(counts), steps_per_epoch=per_epoch) == 2
    # And all of each row, of which `assert_exact` does not know how much there is.
    table = exported(run.folder).to_pandas()
    used = table[table["effective"] & (table["status"] == "used") & (table["epoch"] == 0)]
    units = used["stop"] - used["start"] if kind == "pack" else np.ones(len(used), dtype=int)
    given = np.bincount(used["row"], weights=units, minlength=len(counts))
    np.testing.assert_array_equal(given, counts)


def test_a_filtered_row_is_in_no_step_of_the_table(tmp_path: Path) -> None:
    counts = np.array([1, 0, 1, 1] * 10, dtype=np.int32)
    run = FakeRun(counted_plan("filter", counts), tmp_path, counts=counts)
    run.train(2, 5)
    table = exported(tmp_path).to_pandas()
    filtered = table[table["status"] == "filtered"]
    # 30 samples are 3 steps an epoch, and only the first epoch is finished.
    assert set(filtered["epoch"]) == {0}
    assert filtered["row"].tolist() == list(range(1, 40, 4))
    assert filtered[["attempt", "step", "rank"]].isna().all(axis=None)
    assert filtered["effective"].all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_dropped_record_costs_rows_in_every_kind_of_stream(tmp_path: Path, kind: str) -> None:
    counts = np.array([1, 0, 1, 1] * 10, dtype=np.int32) * (7 if kind == "pack" else 1)
    run = FakeRun(counted_plan(kind, counts), tmp_path, counts=counts)

    def drop(rank: int, records: Records) -> Records:
        return records[1:] if rank == 1 else records

    run.train(2, 3, edit=drop)
    first, *_, last = audit_run(tmp_path).problems
    assert "rank 1 has no record" in first.message
    # Two steps of 12 samples, of which the second rank has half.
    assert len(first.rows) == 12
    assert last.message.endswith("rows are in no step")
    assert set(first.rows) <= set(last.rows)


def test_counts_that_are_gone_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = np.array([1, 0, 1, 1] * 10, dtype=np.int32)
    run = FakeRun(counted_plan("filter", counts), tmp_path, counts=counts)
    run.train(2, 5)
    (tmp_path / "counts-train.bin").unlink()
    assert main(["audit", str(tmp_path)]) == 1
    assert "the counts of the rows are missing" in capsys.readouterr().err


def mixed_plan(*, late: bool = False, **training: object) -> JobPlan:
    """30 and 70 rows; the smaller source has half of the batches, or at first all, if b is late."""
    sources = {"a": {"paths": "a", "weight": 1}, "b": {"paths": "b", "weight": int(not late)}}
    schedule = [{"from": 200, "weights": {"a": 1, "b": 1}}] if late else []
    spec = make_spec(
        dataset={
            "train": {"type": "mixture", "sources": sources, "schedule": schedule},
            "shuffle": {"type": "window", "rows": 24},
        },
        training=training or {"epochs": 3},
        scaling={"superblock_steps": 2},
    )
    fragments = tuple(
        Fragment(path=f"/data/{name}/part.parquet", row_group=group, rows=rows, bytes=rows * 8)
        for name, group, rows in (("a", 0, 10), ("a", 1, 20), ("b", 0, 70))
    )
    index = DatasetIndex(
        fragments=fragments,
        columns=(Column(name="id", dtype="int64", has_nulls=False),),
        mixed=(
            IndexedSource(name="a", start=0, stop=2),
            IndexedSource(name="b", start=2, stop=3),
        ),
    )
    return make_plan(spec, train=index)


@pytest.mark.parametrize("order", ["strict", "relaxed"])
def test_each_pass_over_a_source_has_its_rows_once(
    tmp_path: Path, order: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = mixed_plan()
    run = FakeRun(plan, tmp_path, order)  # type: ignore[arg-type]
    run.train(2, 13)
    assert audit_run(tmp_path).problems == ()
    run.train(3, 27)
    audit = audit_run(tmp_path)
    assert audit.problems == ()
    # 150 samples of each.
    assert [(s.name, s.passes, s.rest, s.least, s.most) for s in audit.sources] == [
        ("a", 5, 0, 5, 5),
        ("b", 2, 10, 2, 3),
    ]
    assert main(["audit", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "each row exactly once in each pass over its source" in printed
    assert "a: 5 passes and 0 samples of the next" in printed
    table = exported(tmp_path).to_pandas()
    uses = np.bincount(table[table["effective"]]["row"], minlength=100)
    assert (uses[:30] == 5).all()
    assert sorted(set(uses[30:])) == [2, 3]


def test_a_dropped_record_of_a_mixture_is_named(tmp_path: Path) -> None:
    run = FakeRun(mixed_plan(), tmp_path)
    run.train(2, 9, every=9, edit=lambda rank, records: records[1:] if rank else records)
    problems = audit_run(tmp_path).problems
    assert "steps 1 to 2: rank 1 has no record" in problems[0].message
    assert "in no step" in problems[1].message
    assert set(problems[0].rows) == set(problems[1].rows)


def test_a_batch_that_is_trained_twice_in_an_epoch_that_goes_on_is_named(tmp_path: Path) -> None:
    def again(_: int, records: Records) -> Records:
        edited = records.copy()
        for name in ("superblock", "rows", "digest"):
            edited[name][2] = records[name][0]
        return edited

    # All of these rows come several times in the epoch, so that their number says nothing.
    run = FakeRun(mixed_plan(late=True, epochs=None, steps=4), tmp_path, "relaxed")
    run.train(1, 4, edit=again)
    (problem,) = audit_run(tmp_path).problems
    assert problem.message.startswith("step 4: batches that their epoch had before")
    assert problem.steps == (3, 4)


def test_mixtures_with_other_workers_agree(tmp_path: Path) -> None:
    for name, attempts in {"a": [(1, 27)], "b": [(3, 4), (2, 27)]}.items():
        (tmp_path / name).mkdir()
        run = FakeRun(mixed_plan(), tmp_path / name)
        for workers, until in attempts:
            run.train(workers, until)
    found = compare_runs(tmp_path / "a", tmp_path / "b")
    assert (found.agrees, found.agreed) == (True, 27)


def test_what_an_epoch_of_a_mixture_wants_is_looked_up_window_by_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = FakeRun(mixed_plan(), tmp_path)
    run.train(2, 9)
    sizes = []
    between = EpochOrigins.between

    def measured(origins: EpochOrigins, epoch: int, start: int, stop: int) -> Origins:
        sizes.append(stop - start)
        return between(origins, epoch, start, stop)

    monkeypatch.setattr(EpochOrigins, "between", measured)
    assert audit_run(tmp_path).problems == ()
    assert max(sizes) == 24
