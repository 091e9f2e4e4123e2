"""A step that is left out moves the run on, without a trace in the weights."""

from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
import torch

from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.errors import NotFiniteError
from orchestrator.jsonl import read_json_lines
from orchestrator.ledger.chain import read_chain
from orchestrator.plan.job import JobPlan
from orchestrator.train.bookkeeping import Bookkeeping
from orchestrator.train.loop import TrainingLoop
from orchestrator.train.row_ledger import open_recorder
from orchestrator.train.state import TrainState
from tests.support.books import first_rank, shares
from tests.support.training import (
    ConvTask,
    digest,
    make_plan,
    make_state,
    make_stepper,
    strategy_of,
)

if TYPE_CHECKING:
    from orchestrator.data.feed import Feed


def train(plan: JobPlan, skips: Collection[int], *, spoil: bool = False) -> TrainState:
    state = make_state(ConvTask())
    if spoil:
        with torch.no_grad():
            next(strategy_of(state).model.parameters()).fill_(float("nan"))
    first = first_rank(plan, attempt=1)
    assert first is not None
    books = Bookkeeping(
        plan,
        state,
        shares(plan.train.geometry, 0, plan.total_steps),
        cast("Feed", SimpleNamespace(wait_s=0.0)),
        learning_rate=lambda: 0.0,
        first_rank=first,
        ledger=open_recorder(plan),
        skips=skips,
    )
    try:
        TrainingLoop(plan, state, books, make_stepper(ConvTask(), state), None).run()
    finally:
        first.recorder.close()
    return state


def plan_of(folder: Path) -> JobPlan:
    return make_plan(
        folder,
        validation=False,
        training={"report_every": 1},
        checkpoint={"every": "2 steps", "keep_latest": 9},
    )


def test_the_steps_after_it_are_the_same_steps_of_the_run(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    state = train(plan, {3, plan.total_steps - 1})
    assert (state.step, state.rows) == (plan.total_steps, 10 * (plan.total_steps - 2))
    reported = [record["step"] for record in read_json_lines(plan.run_dir / "metrics.jsonl")]
    # Steps are counted from 1 where a person sees them.
    assert reported == [step for step in range(1, plan.total_steps) if step != 4]
    saved = [
        info.manifest.step for info in CheckpointStore(plan.run_dir / "checkpoints").committed()
    ]
    assert saved == [8, 6, 4, 2]
    skipped = [s for chunk in read_chain(plan.run_dir).effective for s in chunk.header.skipped]
    assert skipped == [3, plan.total_steps - 1]
    events = read_json_lines(plan.run_dir / "events.jsonl")
    told = [(e["step"], e["rows"]) for e in events if e["event"] == "skipped"]
    assert told == [(4, 10), (plan.total_steps, 10)]


def test_it_leaves_no_trace_in_the_weights(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    everything = train(plan, range(plan.total_steps))
    untouched = make_state(ConvTask())
    assert digest(strategy_of(everything).state()) == digest(strategy_of(untouched).state())
    assert everything.rows == 0


def test_where_the_weights_are_spoilt_before_it_the_step_before_is_to_blame(
    tmp_path: Path,
) -> None:
    plan = plan_of(tmp_path)
    with pytest.raises(NotFiniteError, match=r"the weight 0\.weight is not finite") as caught:
        train(plan, {0}, spoil=True)
    # Nothing was trained before: there is no step to blame.
    assert (caught.value.place, caught.value.frees) == (None, 0)
