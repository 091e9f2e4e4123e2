"""Two runs are compared by their rows in the global order, whoever trained them."""

import json
from pathlib import Path

import pytest

from orchestrator.cli.main import main
from orchestrator.ledger.description import describe_order, write_description
from orchestrator.ledger.diff import compare_runs
from orchestrator.plan.job import JobPlan
from tests.support.ledgers import FakeRun, forget_ledger
from tests.support.orders import rows_between
from tests.support.plans import make_index, make_plan, make_spec


def plan_of(sizes: tuple[int, ...] = (40, 30, 30), **sections: object) -> JobPlan:
    spec = make_spec(scaling={"superblock_steps": 3}, **sections)
    return make_plan(spec, train=make_index(sizes))


def run_of(folder: Path, plan: JobPlan, *attempts: tuple[int, int], order: str = "strict") -> Path:
    """A run whose attempts are given as workers and the step they come to."""
    run = FakeRun(plan, folder, order)  # type: ignore[arg-type]
    for workers, until in attempts:
        run.train(workers, until)
    return folder


@pytest.mark.parametrize("other", [[(3, 18)], [(2, 5), (12, 6), (1, 18)], [(5, 17), (3, 18)]])
def test_runs_agree_whatever_their_workers_and_where_these_changed(
    tmp_path: Path, other: list[tuple[int, int]]
) -> None:
    plan = plan_of()
    a = run_of(tmp_path / "a", plan, (1, 18))
    found = compare_runs(a, run_of(tmp_path / "b", plan, *other))
    assert found.agrees
    assert (found.agreed, found.settings) == (18, ())


def test_a_longer_run_agrees_and_is_said_to_be_longer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = run_of(tmp_path / "a", plan_of(), (1, 18))
    b = run_of(tmp_path / "b", plan_of(), (2, 7))
    assert main(["diff", str(a), str(b)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith("agree on all 7 steps that both have")
    assert printed[1] == f"{a} has 11 steps more than {b}"


def test_the_first_step_with_other_rows_is_shown_from_both_sides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Of the second run the superblocks come backwards.
    plan = plan_of()
    a = run_of(tmp_path / "a", plan, (1, 18))
    b = run_of(tmp_path / "b", plan, (2, 18), order="relaxed")
    assert main(["diff", str(a), str(b), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["agrees"], found["agreed_steps"], found["difference"]["step"]) == (False, 0, 1)
    rows = rows_between(plan.train.sample_order(), 0, 0, 12)
    path, position = plan.train.index.locate(int(rows[0]))
    place = f"row {rows[0]} ({path.removeprefix('/data/')}, row {position})"
    assert found["difference"]["sides"][0]["shown"][0] == place
    assert main(["diff", str(a), str(b)]) == 1
    printed = capsys.readouterr().out
    assert "differ first in step 1 (epoch 1): other rows, from place 0" in printed
    assert place in printed


def test_a_change_of_the_seed_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = run_of(tmp_path / "a", plan_of(), (1, 18))
    b = run_of(tmp_path / "b", plan_of(seed=8), (1, 18))
    assert main(["diff", str(a), str(b)]) == 1
    assert "their jobs differ in: seed" in capsys.readouterr().out


def test_the_same_rows_in_another_order_are_told_from_other_rows(tmp_path: Path) -> None:
    whole = {"shuffle": {"type": "window", "rows": "all"}}
    training = {"epochs": 1, "global_batch_size": 100}
    plans = [plan_of(dataset=whole, training=training, seed=seed) for seed in (7, 8)]
    a, b = (run_of(tmp_path / f"{number}", plan, (1, 1)) for number, plan in enumerate(plans))
    found = compare_runs(a, b)
    assert found.difference is not None
    assert found.difference.reordered


def test_batches_of_another_size_differ_where_the_shorter_ends(tmp_path: Path) -> None:
    none = {"shuffle": {"type": "none"}}
    a = run_of(tmp_path / "a", plan_of(dataset=none), (1, 1))
    b = run_of(tmp_path / "b", plan_of(dataset=none, training={"global_batch_size": 10}), (1, 1))
    found = compare_runs(a, b)
    assert found.difference is not None
    assert (found.difference.place, found.settings) == (10, ("training.global_batch_size",))
    assert [side.lines for side in found.difference.sides] == [12, 10]
    assert found.difference.sides[1].shown == ()


def test_other_data_is_said_and_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = run_of(tmp_path / "a", plan_of(), (1, 18))
    b = run_of(tmp_path / "b", plan_of((60, 40)), (1, 18))
    assert main(["diff", str(a), str(b)]) == 1
    assert "were trained on different data sets" in capsys.readouterr().out


def test_a_run_whose_ledger_proves_nothing_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = run_of(tmp_path / "a", plan_of(), (1, 18))
    b = run_of(tmp_path / "b", plan_of(), (1, 18))
    write_description(b, describe_order(plan_of(seed=8)))
    assert main(["diff", str(a), str(b)]) == 1
    printed = capsys.readouterr()
    assert "ledger/step-000000004-001.chunk was written under another order" in printed.err
    assert "orchestrator audit" in printed.err


def test_a_run_whose_ledger_begins_late_is_compared_from_there_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = run_of(tmp_path / "a", plan_of(), (1, 18)), run_of(tmp_path / "b", plan_of(), (2, 8))
    forget_ledger(b)
    run_of(b, plan_of(), (3, 18))
    found = compare_runs(a, b)
    assert (found.agrees, found.agreed, found.common) == (True, 10, 10)
    assert main(["diff", str(a), str(b)]) == 0
    printed = capsys.readouterr().out
    assert "agree on all 10 steps that both have" in printed
    assert f"steps 1 to 8 of {b} are not recorded" in printed
    c = run_of(tmp_path / "c", plan_of(), (3, 8))
    assert main(["diff", str(c), str(b)]) == 1
    assert "nothing to compare" in capsys.readouterr().out
