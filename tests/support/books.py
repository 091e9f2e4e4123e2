"""The books of a run without Ray: real files, and batches that come from no stream."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.data.codec import Columns
from orchestrator.data.feed import LocalBatch
from orchestrator.plan.geometry import StreamGeometry
from orchestrator.plan.job import JobPlan
from orchestrator.train.bookkeeping import Bookkeeping
from orchestrator.train.context import TrainContext, learning_rate
from orchestrator.train.first_rank import FirstRank
from orchestrator.train.passes import ValidationPasses
from orchestrator.train.recorder import Recorder
from orchestrator.train.row_ledger import open_recorder, open_writer
from orchestrator.train.saving import Saver
from orchestrator.train.state import TrainState
from orchestrator.train.stepper import seed_everything, world
from orchestrator.train.stop import StopRequest
from orchestrator.train.user_loop import Loop, run_loop
from tests.support.training import CPU, SEED, image_columns, share

if TYPE_CHECKING:
    from orchestrator.data.feed import Feed


def shares(
    cuts: StreamGeometry,
    first: int,
    last: int,
    *,
    columns: Callable[[NDArray[np.int64]], Columns] = image_columns,
) -> Iterator[LocalBatch]:
    """This rank's shares of the steps first..last-1, counted through the run."""
    rank, workers = world()
    for number in range(first, last):
        yield share(cuts, number, rank=rank, workers=workers, columns=columns)


def first_rank(plan: JobPlan, *, attempt: int, begin_at: int = 0) -> FirstRank | None:
    """What the first rank does, in the plan's run directory; None on any other."""
    if world()[0] > 0:
        return None
    checkpoint = checkpoint_of(plan, begin_at).name if begin_at else None
    plan.run_dir.mkdir(parents=True, exist_ok=True)
    recorder = Recorder(plan.run_dir, attempt=attempt)
    return FirstRank(
        recorder=recorder,
        saver=Saver(
            plan,
            plan.run_dir,
            attempt=attempt,
            recorder=recorder,
            ledger=open_writer(
                plan, plan.run_dir, attempt=attempt, step=begin_at, checkpoint=checkpoint
            ),
        ),
        # Of a clock that goes fast: it looks after every step.
        stop=StopRequest(plan.run_dir, attempt=attempt, clock=count().__next__),
    )


def run_own_loop(
    loop: Loop,
    plan: JobPlan,
    *,
    attempt: int = 1,
    begin_at: int = 0,
    root: Path = Path("/"),
    columns: Callable[[NDArray[np.int64]], Columns] = image_columns,
    **arguments: object,
) -> TrainState:
    """Runs a loop as a worker does; the state that it left.

    Args:
        begin_at: the step whose checkpoint it begins with, 0 for a fresh start.
        columns: the columns of rows.
    """
    state = TrainState(device=CPU)
    first = first_rank(plan, attempt=attempt, begin_at=begin_at)
    books = Bookkeeping(
        plan,
        state,
        shares(plan.train.geometry, begin_at, plan.total_steps, columns=columns),
        cast("Feed", SimpleNamespace(wait_s=0.0)),
        learning_rate=lambda: learning_rate(state),
        first_rank=first,
        ledger=open_recorder(plan),
    )

    def load(state: TrainState) -> None:
        if begin_at:
            state.read(checkpoint_of(plan, begin_at))

    passes = None
    if plan.validation is not None:
        cuts = plan.validation.geometry
        done, due = plan.validations_until(begin_at), plan.validations_until(plan.total_steps)
        span = (done * cuts.steps_per_epoch, due * cuts.steps_per_epoch)
        batches = shares(cuts, *span, columns=columns)
        passes = ValidationPasses(batches, steps=cuts.steps_per_epoch)
    context = TrainContext(plan, state, books, passes, read=load)
    seed_everything(SEED, 0, 0)
    try:
        run_loop(loop, context, books, name="pkg:train", arguments=arguments, root=root)
    finally:
        if first is not None:
            first.close()
    return state


def checkpoint_of(plan: JobPlan, step: int) -> Path:
    """The committed checkpoint of a step, of the first attempt that came so far."""
    store = CheckpointStore(plan.run_dir / "checkpoints")
    return min(info.path for info in store.committed() if info.manifest.step == step)
