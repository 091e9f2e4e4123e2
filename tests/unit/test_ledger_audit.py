"""An audit proves what the ranks noted, and names everything that is not as it must be."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.cli.main import main
from orchestrator.errors import LedgerError
from orchestrator.ledger.audit import audit_run
from orchestrator.ledger.chain import read_chain
from orchestrator.ledger.record import Records, join_records
from orchestrator.ledger.replay import walk
from orchestrator.ledger.run_order import read_order
from orchestrator.plan.job import JobPlan
from orchestrator.plan.order import SampleOrder, Window
from orchestrator.plan.origins import Origins
from tests.support.ledgers import Edit, FakeRun, assert_exact, chunks_of, forget_ledger
from tests.support.plans import make_index, make_plan, make_spec

# 100 rows in batches of 12: 9 steps an epoch, the last of 4 rows; 12 lanes; windows of 3 steps.
STEPS = 9


def plan_of(
    sizes: tuple[int, ...] = (40, 30, 30), *, rows: int | str = 36, superblock: int = 3
) -> JobPlan:
    spec = make_spec(
        dataset={"shuffle": {"type": "window", "rows": rows}},
        training={"epochs": 3},
        scaling={"superblock_steps": superblock},
    )
    return make_plan(spec, train=make_index(sizes))


def messages(run: FakeRun) -> str:
    return "\n".join(problem.message for problem in audit_run(run.folder).problems)


def clean(run: FakeRun) -> None:
    assert audit_run(run.folder).problems == ()


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_line_of_attempts_is_proven_and_exports_every_row_once(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sizes = data.draw(st.lists(st.integers(0, 40), min_size=1, max_size=4).filter(sum))
    order = data.draw(st.sampled_from(["strict", "relaxed"]))
    plan = plan_of(tuple(sizes), rows="all", superblock=data.draw(st.sampled_from([1, 2, 3])))
    run = FakeRun(plan, tmp_path_factory.mktemp("run"), order)
    for _ in range(data.draw(st.integers(1, 3))):
        workers = data.draw(st.integers(1, plan.train.geometry.lanes))
        until = data.draw(st.integers(1, plan.total_steps))
        run.train(workers, until, every=data.draw(st.integers(1, 7)))
    run.train(2, plan.total_steps)
    audit = audit_run(run.folder)
    assert audit.problems == ()
    assert [account.used for account in audit.epochs] == [sum(sizes)] * 3
    assert all(account.finished for account in audit.epochs)
    per_epoch = plan.train.geometry.steps_per_epoch
    assert assert_exact(run.folder, rows=sum(sizes), steps_per_epoch=per_epoch) == 3


def test_steps_that_were_done_again_count_once(tmp_path: Path) -> None:
    run = FakeRun(plan_of(), tmp_path)
    run.train(2, 16)
    run.train(3, 20, start=12)
    audit = audit_run(tmp_path)
    assert audit.problems == ()
    assert (len(audit.chain.effective), len(audit.chain.others)) == (5, 1)
    assert audit.chain.others[0].path.name == "step-000000016-001.chunk"


def test_an_epoch_that_goes_on_is_counted_so_far(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    FakeRun(plan_of(), tmp_path).train(2, 13)
    assert main(["audit", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "epoch 2: 48 of 100 rows so far, in 4 of 9 steps" in printed
    assert "13 of 27 proven" in printed


def test_a_run_without_a_checkpoint_has_nothing_to_prove(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    FakeRun(plan_of(), tmp_path)
    (tmp_path / "job.yaml").write_text("")
    assert main(["audit", str(tmp_path)]) == 0
    assert "no step is saved yet" in capsys.readouterr().out


def only_rank(number: int, edit: Edit) -> Edit:
    return lambda rank, records: edit(rank, records) if rank == number else records


def changed(records: Records, which: int, **fields: object) -> Records:
    edited = records.copy()
    for name, value in fields.items():
        edited[name][which] = value
    return edited


def planted(tmp_path: Path, edit: Edit, *, order: str = "strict") -> FakeRun:
    """A run of an epoch by two ranks that saved once, with something wrong in what it noted."""
    run = FakeRun(plan_of(), tmp_path, order)  # type: ignore[arg-type]
    run.train(2, STEPS, every=STEPS, edit=edit)
    return run


@pytest.mark.parametrize("order", ["strict", "relaxed"])
def test_a_dropped_record_is_named_with_its_steps_and_its_rows(tmp_path: Path, order: str) -> None:
    run = planted(tmp_path, only_rank(1, lambda _, records: records[1:]), order=order)
    first, *_, last = audit_run(tmp_path).problems
    assert first.message.startswith("steps 1 to 3: rank 1 has no record")
    assert first.steps == (0, 3)
    lost = [run.share(step, 1, 2).origins.rows for step in range(3)]
    np.testing.assert_array_equal(first.rows, np.concatenate(lost))
    assert last.message == f"epoch 1: {len(first.rows)} rows are in no step"
    assert sorted(first.rows) == sorted(last.rows)


@pytest.mark.parametrize("order", ["strict", "relaxed"])
def test_a_repeated_record_is_named_with_its_steps_and_its_rows(tmp_path: Path, order: str) -> None:
    def twice(_: int, records: Records) -> Records:
        return join_records([records, records[:1]])

    run = planted(tmp_path, only_rank(0, twice), order=order)
    first, *_, last = audit_run(tmp_path).problems
    assert first.message.startswith("steps 1 to 3: rank 0 has several records")
    again = sum(len(run.share(step, 0, 2).origins) for step in range(3))
    assert last.message == f"epoch 1: {again} rows are in more than one step"


def test_a_record_moved_to_another_step_is_named(tmp_path: Path) -> None:
    def moved(_: int, records: Records) -> Records:
        return changed(records, 0, step=3)

    run = planted(tmp_path, moved)
    assert "steps 4 to 6, rank 0: their rows are those of steps 1 to 3" in messages(run)
    assert "steps 1 to 3: rank 1 has no record" in messages(run)


def test_two_ranks_that_trained_different_batches_are_named_in_relaxed_order(
    tmp_path: Path,
) -> None:
    def swapped(_: int, records: Records) -> Records:
        return changed(changed(records, 0, step=3), 1, step=0)

    run = planted(tmp_path, only_rank(1, swapped), order="relaxed")
    assert "steps 1 to 6: the ranks trained different batches" in messages(run)


def test_a_superblock_that_is_trained_twice_in_relaxed_order_is_named(tmp_path: Path) -> None:
    def again(rank: int, records: Records) -> Records:
        edited = changed(records, 0, superblock=records["superblock"][1])
        return changed(edited, 0, digest=records["digest"][1], rows=records["rows"][1])

    planted(tmp_path, again, order="relaxed")
    twice = [p for p in audit_run(tmp_path).problems if "more than one step" in p.message]
    # The last superblock has 28 rows, which were not trained; the second one was trained twice.
    assert twice[0].message == "epoch 1: 36 rows are in more than one step"


def test_a_record_that_goes_on_into_the_next_epoch_is_named(tmp_path: Path) -> None:
    def later(_: int, records: Records) -> Records:
        return changed(records, 2, step=STEPS - 2)

    run = FakeRun(plan_of(), tmp_path, "relaxed")
    run.train(1, STEPS + 3, every=STEPS + 3, edit=later)
    assert "steps 8 to 10, rank 0: superblock 0 belongs to epoch 1" in messages(run)


@pytest.mark.parametrize("windows", [(3, 5), (5, 3)])
def test_a_window_of_a_whole_epoch_may_be_rounded_up_for_other_superblocks(
    tmp_path: Path, windows: tuple[int, int]
) -> None:
    before, after = (plan_of(rows="all", superblock=steps) for steps in windows)
    assert before.fingerprint == after.fingerprint
    assert before.train.geometry.window_steps != after.train.geometry.window_steps
    FakeRun(before, tmp_path).train(2, 4)
    run = FakeRun(after, tmp_path)
    run.train(3, 27)
    clean(run)


def test_a_row_replaced_in_a_batch_is_caught_by_the_digest(tmp_path: Path) -> None:
    def replaced(step: int, rank: int, origins: Origins) -> Origins:
        if (step, rank) != (4, 1):
            return origins
        return Origins(rows=np.concatenate([origins.rows[:-1], [99]]))

    run = FakeRun(plan_of(), tmp_path)
    run.train(2, STEPS, wrong=replaced)
    first, second = audit_run(tmp_path).problems
    # The record from the save after step 4 to the end of the superblock.
    assert (
        first.message
        == "steps 5 to 6, rank 1: other rows were trained than the 12 that belong there"
    )
    assert set(run.share(4, 1, 2).origins.rows) <= set(first.rows)
    assert second.message == "epoch 1: 12 rows are in no step"


def test_a_row_dropped_from_a_batch_is_caught_by_the_count(tmp_path: Path) -> None:
    run = FakeRun(plan_of(), tmp_path)
    run.train(1, STEPS, wrong=lambda step, _, o: o.take(slice(0, 11)) if step == 1 else o)
    assert "steps 1 to 3, rank 0: 35 samples were trained instead of 36" in messages(run)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rank": 5}, "there is no rank 5 of 2"),
        ({"superblock": -1}, "superblock -1"),
        ({"superblock": 2**62}, "belongs to epoch"),
        ({"offset": 2}, "has no such batches"),
        ({"steps": 0}, "has no such batches"),
        ({"step": 2**62}, "not among the steps of this chunk"),
    ],
)
def test_a_record_that_cannot_be_is_named(
    tmp_path: Path, fields: dict[str, int], words: str
) -> None:
    run = planted(tmp_path, only_rank(0, lambda _, records: changed(records, 0, **fields)))
    assert words in messages(run)


def test_the_rows_are_printed_with_file_and_position(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = planted(tmp_path, only_rank(1, lambda _, records: records[1:]))
    assert main(["audit", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    row = int(run.share(0, 1, 2).origins.rows[0])
    file, position = run.plan.train.index.locate(row)
    assert f"row {row} ({file.removeprefix('/data/')}, row {position})" in printed
    assert "and 15 more" in printed
    assert main(["audit", str(tmp_path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["exact"]
    assert (found["problems"][0]["first_step"], found["problems"][0]["last_step"]) == (1, 3)
    assert found["problems"][0]["rows"][0] == row


def test_a_ledger_that_was_begun_late_proves_nothing_of_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = FakeRun(plan_of(), tmp_path)
    run.train(2, 8)
    newest = max((tmp_path / "checkpoints").glob("step-*"))
    manifest = json.loads((newest / "MANIFEST.json").read_text())
    assert manifest["ledger"]["name"] == "step-000000008-001.chunk"
    forget_ledger(tmp_path)
    with pytest.raises(LedgerError, match="step-000000008-001 names no ledger"):
        audit_run(tmp_path)
    run.train(2, STEPS + 4)
    problem, *more = audit_run(tmp_path).problems
    assert problem.message == "the ledger begins after step 8: nothing is known of those before"
    assert (problem.steps, more) == ((0, 8), [])
    assert main(["audit", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "nothing is known of steps 1 to 8, and the rest is as it must be" in printed
    assert "5 of 27 proven, from step 9 on" in printed
    # No balance of the first epoch, of which one step is known.
    assert "epoch 2: 48 of 100 rows so far" in printed
    assert "epoch 1:" not in printed
    assert main(["audit", str(tmp_path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["steps"], found["not_recorded"], found["samples"]) == (5, 8, 4 + 48)


def test_a_late_ledger_is_held_to_its_rows_all_the_same(tmp_path: Path) -> None:
    run = FakeRun(plan_of(), tmp_path)
    run.train(2, 8)
    forget_ledger(tmp_path)
    run.train(2, 2 * STEPS, edit=only_rank(1, lambda _, records: records[:-1]))
    assert "rank 1 has no record" in messages(run)
    assert "epoch 2: " in messages(run)
    assert "epoch 1: " not in messages(run)


def steps_of_all(folder: Path) -> int:
    run = read_order(folder)
    return sum(len(list(walk(run, chunk))) for chunk in read_chain(folder).effective)


@pytest.mark.parametrize("reads", [audit_run, steps_of_all])
def test_the_windows_of_a_chunk_are_worked_out_once_whatever_their_sequence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: Callable[[Path], object]
) -> None:
    def by_turns(_: int, records: Records) -> Records:
        # Three windows of three superblocks.
        turned = records[np.arange(9).reshape(3, 3).T.ravel()]
        turned["step"] = np.arange(9)
        return turned

    run = FakeRun(plan_of(superblock=1), tmp_path, "relaxed")
    run.train(1, STEPS, every=STEPS, edit=by_turns)
    asked = []
    window = SampleOrder.window

    def counted(order: SampleOrder, epoch: int, number: int) -> Window:
        asked.append(number)
        return window(order, epoch, number)

    monkeypatch.setattr(SampleOrder, "window", counted)
    reads(tmp_path)
    assert sorted(asked) == [0, 1, 2]
    clean(run)


def test_what_was_trained_past_a_damaged_checkpoint_does_not_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = FakeRun(plan_of(), tmp_path)
    run.train(2, 8)
    (max((tmp_path / "checkpoints").glob("step-*")) / "state").write_text("x")
    assert main(["audit", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "4 of 27 proven" in printed
    assert "the checkpoint step-000000008-001 does not verify" in printed


def test_an_attempt_with_other_workers_than_its_records_is_named(tmp_path: Path) -> None:
    run = FakeRun(plan_of(), tmp_path)
    run.train(2, 4)
    file = tmp_path / "attempts" / "1.json"
    file.write_text(file.read_text().replace('"workers": 2', '"workers": 3'))
    assert "has the records of 2 workers, but attempt 1 had 3" in messages(run)
    file.rename(file.with_name("2.json"))
    file.with_name("2.json").write_text(
        file.with_name("2.json").read_text().replace('"number": 1', '"number": 2')
    )
    assert "is of an attempt that never began" in messages(run)


def test_the_figures_of_like_epochs_share_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = FakeRun(plan_of(), tmp_path)
    run.train(1, 5)
    run.train(3, 27)
    assert main(["audit", str(tmp_path)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["1-3", "100", "100", "0", "0", "0"] in lines
    assert ["workers", "1,", "then", "3"] in lines
    assert len(chunks_of(tmp_path)) == 8
