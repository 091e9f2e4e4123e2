"""Real process groups: what each rank trained is in the ledger of whatever was saved."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from orchestrator.checkpoint.attempts import Attempt, AttemptLog
from orchestrator.ledger.audit import Audit, audit_run
from orchestrator.ledger.chain import read_chunk
from orchestrator.ledger.description import describe_order, write_description
from orchestrator.ledger.record import RECORD
from orchestrator.plan.job import JobPlan
from orchestrator.train.row_ledger import open_writer
from orchestrator.train.stop import STOP_FILE, StopRequested
from orchestrator.train.totals import Totals
from tests.support import rank_jobs
from tests.support.ledgers import assert_exact, chunks_of
from tests.support.ranks import Raised, run_ranks, try_ranks
from tests.support.training import make_plan

# Steps of 12 rows: 6 an epoch, the last of which has 6 of 66 rows, none of them for the last rank.
ROWS, STEPS = 66, 12


def begin(plan: JobPlan, workers: int, *, number: int = 1, step: int = 0) -> None:
    """Records an attempt, as a driver does before its workers begin."""
    write_description(plan.run_dir, describe_order(plan))
    AttemptLog(plan.run_dir / "attempts").begin(
        Attempt(
            number=number,
            parent=number - 1 or None,
            step=step,
            checkpoint=None,
            checkpoint_digest=None,
            workers=workers,
            driver=1,
            reason="started",
            host="here",
            pid=1,
            started_at=0.0,
        )
    )


def plan_of(folder: Path, every: str, **checkpoint: object) -> JobPlan:
    return make_plan(
        folder,
        rows=ROWS,
        batch=12,
        validation="best" in checkpoint,
        training={"validate_every": "5 steps"},
        checkpoint={"every": every, "keep_latest": 100, **checkpoint},
        # As the fake stream has them.
        shuffle={"type": "none"},
    )


def proven(plan: JobPlan) -> Audit:
    audit = audit_run(plan.run_dir)
    assert audit.problems == ()
    assert audit.chain.steps == STEPS
    assert assert_exact(plan.run_dir, rows=ROWS, steps_per_epoch=6) == 2
    return audit


@pytest.mark.parametrize("workers", [2, 3])
def test_a_save_by_the_time_alone_has_what_all_ranks_trained(workers: int, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "0.001s")
    begin(plan, workers)
    run_ranks(workers, rank_jobs.own_loop, plan, folder=tmp_path)
    # What is up after step 1 is known to all after step 2.
    first, *_, last = proven(plan).chain.effective
    assert (first.header.first_step, first.header.last_step) == (0, 2)
    assert last.header.last_step == STEPS


def test_a_run_that_was_asked_to_stop_goes_on_with_more_ranks_where_its_ledger_ends(
    tmp_path: Path,
) -> None:
    plan = plan_of(tmp_path, "100 steps")
    begin(plan, 2)
    (plan.run_dir / STOP_FILE).write_text("1")
    first, _ = try_ranks(2, rank_jobs.own_loop, plan, folder=tmp_path)
    assert isinstance(first, Raised)
    assert isinstance(first.error, StopRequested)
    assert [path.name for path in chunks_of(plan.run_dir)] == ["step-000000002-001.chunk"]
    begin(plan, 3, number=2, step=2)
    run_ranks(3, partial(rank_jobs.own_loop, begin_at=2, attempt=2), plan, folder=tmp_path)
    chunks = [chunk.header for chunk in proven(plan).chain.effective]
    assert [(chunk.workers, chunk.first_step, chunk.last_step) for chunk in chunks] == [
        (2, 0, 2),
        (3, 2, 12),
    ]


def test_a_best_validation_and_a_loop_that_saves_are_in_the_ledger_too(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "100 steps", best={"metric": "loss"})
    begin(plan, 2)
    run_ranks(2, partial(rank_jobs.own_loop, save_after=[3, 10]), plan, folder=tmp_path)
    ends = [chunk.header.last_step for chunk in proven(plan).chain.effective]
    # The validations are after 5, 10 and 12 steps; the second may be no better than the first.
    assert {3, 5, 10, 12} <= set(ends)


def test_a_run_that_keeps_no_ledger_writes_none(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "4 steps", ledger=False)
    begin(plan, 2)
    run_ranks(2, rank_jobs.own_loop, plan, folder=tmp_path)
    assert chunks_of(plan.run_dir) == []


@pytest.mark.parametrize(
    ("in_order", "orders"), [(True, ["strict", "strict"]), (False, ["relaxed", "strict", "strict"])]
)
def test_only_the_epoch_that_was_begun_in_relaxed_order_is_held_to_no_sequence(
    tmp_path: Path, in_order: bool, orders: list[str]
) -> None:
    plan = plan_of(tmp_path, "1 epoch")
    begin(plan, 1)
    writer = open_writer(plan, plan.run_dir, attempt=1, step=2, checkpoint=None, in_order=in_order)
    assert writer is not None
    # A save in the middle of the next epoch, and one at its end: an epoch has 6 steps.
    for first, last in ((2, 8), (8, 12)):
        records = np.zeros(last - first, dtype=RECORD)
        records["step"] = np.arange(first, last)
        writer.hold([records])
        writer.write(last)
    chunks = [read_chunk(plan.run_dir / "ledger", path.name) for path in chunks_of(plan.run_dir)]
    assert [chunk.header.order for chunk in chunks] == orders
    steps = [chunk.records()["step"].tolist() for chunk in chunks]
    assert steps == [
        list(range(chunk.header.first_step, chunk.header.last_step)) for chunk in chunks
    ]
    assert [step for each in steps for step in each] == list(range(2, 12))


def test_a_wish_goes_with_the_sums_and_leaves_them_as_they_are() -> None:
    sums = torch.tensor([float("nan"), 3.0, 4.0], dtype=torch.float64)
    totals, wishes = Totals(names=("a", "b"), sums=sums).over_ranks_with(1.0)
    assert totals.sums[1:].tolist() == [3.0, 4.0]
    assert totals.sums.untyped_storage().nbytes() == 3 * 8
    assert float(wishes) == 1.0
