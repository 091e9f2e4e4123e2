"""The loop reports, validates and saves when it should, in this order, and ends when it must."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch

from orchestrator.data.feed import Feed, LocalBatch
from orchestrator.errors import CheckpointError, JobFailedError
from orchestrator.plan.job import JobPlan
from orchestrator.plan.origins import Origins
from orchestrator.train.bookkeeping import Bookkeeping
from orchestrator.train.evaluation import Scores
from orchestrator.train.first_rank import FirstRank
from orchestrator.train.loop import TrainingLoop
from orchestrator.train.outcome import RowLosses, StepOutcome
from orchestrator.train.state import TrainState
from orchestrator.train.stop import StopRequested
from orchestrator.train.totals import Totals
from tests.support.training import ConvTask, make_plan, make_state, optimizer_of

if TYPE_CHECKING:
    from orchestrator.train.evaluation import Evaluator
    from orchestrator.train.recorder import Recorder
    from orchestrator.train.saving import Saver
    from orchestrator.train.stepper import Stepper
    from orchestrator.train.stop import StopRequest

Happening = tuple[Any, ...]
EACH_STEP = {"every": "1 steps"}


def totals(rows: int, **means: float) -> Totals:
    names = tuple(sorted(means))
    sums = [means[name] * rows for name in names]
    return Totals(names=names, sums=torch.tensor([*sums, float(rows)], dtype=torch.float64))


class Fakes:
    """Everything the loop talks to; what it does lands in one list."""

    def __init__(
        self,
        losses: Mapping[int, float] | None = None,
        *,
        stop_after: int | None = None,
        overdue: Collection[int] = (),
        save_fails_after: int | None = None,
    ) -> None:
        self.happened: list[Happening] = []
        self.reports: list[dict[str, Any]] = []
        self.now = 0.0
        self.wait_s = 0.0
        self._losses = losses or {}
        self._stop_after = stop_after
        self._overdue = overdue
        self._save_fails_after = save_fails_after

    def clock(self) -> float:
        return self.now

    # The stepper: 2 s a step, and the loss is the step's number.
    def step(self, batch: LocalBatch, number: int) -> StepOutcome:
        self.now += 2.0
        self.happened.append(("step", number))
        loss = self._losses.get(number, float(number))
        values = torch.full((len(batch.rows),), loss)
        return StepOutcome(
            totals=totals(batch.global_rows, loss=loss),
            losses=RowLosses(values=values, exact=True),
        )

    # The evaluator: 100 s a validation.
    def evaluate(self) -> Scores:
        self.now += 100.0
        return Scores(rows=40, metrics={"accuracy": 0.5, "loss": 1.5})

    # The recorder.
    def training(self, *, step: int, means: Mapping[str, float], **others: Any) -> None:
        self.happened.append(("report", step, means["loss"]))
        self.reports.append({"step": step, **others})

    def validation(
        self, *, epoch: int, step: int, rows: int, means: Mapping[str, float], seconds: float
    ) -> None:
        self.happened.append(("validation", epoch, step, rows, seconds))

    def training_started(self, *, step: int) -> None:
        self.started_at = step

    def stopped(self, *, step: int) -> None:
        self.happened.append(("stopped", step))

    # The saver: 50 s a save.
    def overdue(self, step: int) -> bool:
        return step in self._overdue

    def after_step(
        self, state: TrainState, *, epoch_finished: bool, metrics: Mapping[str, float]
    ) -> None:
        self.now += 50.0
        self.happened.append(("offer", state.step, epoch_finished, dict(metrics)))

    def save(self, state: TrainState, *, metrics: Mapping[str, float]) -> bool:
        self.happened.append(("save", state.step, dict(metrics)))
        return True

    def check(self) -> None:
        fails_after, done = self._save_fails_after, len(kinds(self, "step"))
        if fails_after is not None and done > fails_after:
            raise CheckpointError("cannot write step-000000002-001: the disk is full")

    def wait(self) -> None:
        self.happened.append(("wait",))

    # The stop request.
    def made(self) -> bool:
        return self._stop_after is not None and len(kinds(self, "step")) >= self._stop_after

    def batches(self, plan: JobPlan, first: int, last: int) -> Iterator[LocalBatch]:
        """The batches of steps first..last-1; each was waited for for 1 s."""
        geometry = plan.train.geometry
        for number in range(first, last):
            self.now += 1.0
            self.wait_s += 1.0
            cursor = geometry.cursor(number)
            yield LocalBatch(
                epoch=cursor.epoch,
                step=cursor.step,
                lane=0,
                superblock=0,
                offset=0,
                origins=Origins(rows=np.arange(1)),
                global_rows=geometry.step_rows(cursor.step),
                columns={},
            )


def run(
    plan: JobPlan,
    fakes: Fakes,
    *,
    state: TrainState | None = None,
    last: int | None = None,
    first_rank: bool = True,
    evaluate: bool = True,
    batches: Callable[[Iterable[LocalBatch]], Iterator[LocalBatch]] = iter,
) -> TrainState:
    state = state or make_state(ConvTask())
    until = plan.total_steps if last is None else last
    first = FirstRank(
        recorder=cast("Recorder", fakes),
        saver=cast("Saver", fakes),
        stop=cast("StopRequest", fakes),
    )
    books = Bookkeeping(
        plan,
        state,
        batches(fakes.batches(plan, state.step, until)),
        cast("Feed", fakes),
        learning_rate=lambda: optimizer_of(state).learning_rate(state.step - 1),
        first_rank=first if first_rank else None,
        clock=fakes.clock,
    )
    TrainingLoop(
        plan,
        state,
        books,
        cast("Stepper", fakes),
        cast("Evaluator", fakes) if evaluate else None,
        clock=fakes.clock,
    ).run()
    return state


def kinds(fakes: Fakes, *wanted: str) -> list[Happening]:
    return [happening for happening in fakes.happened if happening[0] in wanted]


def test_a_run_reports_and_validates_when_due_and_at_its_end(tmp_path: Path) -> None:
    plan = make_plan(
        tmp_path,
        training={"report_every": 4, "validate_every": "3 steps", "epochs": None, "steps": 10},
    )
    fakes = Fakes()
    state = run(plan, fakes)
    assert kinds(fakes, "report") == [("report", 4, 1.5), ("report", 8, 5.5), ("report", 10, 8.5)]
    assert [h[2] for h in kinds(fakes, "validation")] == [3, 6, 9, 10]
    assert [h[1] for h in kinds(fakes, "step")] == list(range(10))
    assert (state.step, state.rows, state.interval) == (10, 100, None)


def test_after_a_step_comes_the_report_then_the_validation_then_the_save(tmp_path: Path) -> None:
    plan = make_plan(
        tmp_path,
        training={"report_every": 4, "epochs": 1},
        checkpoint=EACH_STEP,
    )
    fakes = Fakes()
    run(plan, fakes)
    means = {"accuracy": 0.5, "loss": 1.5}
    assert fakes.happened[-5:] == [
        ("step", 3),
        ("report", 4, 1.5),
        ("validation", 0, 4, 40, 100.0),
        ("offer", 4, True, means),
        ("wait",),
    ]
    assert kinds(fakes, "offer")[:3] == [("offer", step, False, {}) for step in (1, 2, 3)]


def test_an_epoch_ends_with_its_short_last_batch(tmp_path: Path) -> None:
    plan = make_plan(
        tmp_path, rows=25, validation=False, training={"epochs": 2}, checkpoint=EACH_STEP
    )
    fakes = Fakes()
    state = run(plan, fakes, evaluate=False)
    assert [h[1:3] for h in kinds(fakes, "offer") if h[2]] == [(3, True), (6, True)]
    assert state.rows == 50


def test_a_run_without_validation_rows_validates_nothing(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, validation=False)
    fakes = Fakes()
    run(plan, fakes, evaluate=False)
    assert not kinds(fakes, "validation")
    assert all(h[3] == {} for h in kinds(fakes, "offer"))


def test_other_ranks_step_and_validate_but_write_nothing(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, training={"epochs": 1})
    fakes = Fakes()
    run(plan, fakes, first_rank=False)
    assert [h[0] for h in fakes.happened] == ["step"] * 4
    assert fakes.now == 4 * 3.0 + 100.0


def test_the_pace_counts_waiting_and_training_but_no_validation_or_save(tmp_path: Path) -> None:
    plan = make_plan(
        tmp_path, training={"report_every": 2, "epochs": 1, "validate_every": "1 steps"}
    )
    fakes = Fakes()
    run(plan, fakes)
    # Two steps of 10 rows, each 1 s of waiting and 2 s of training; but that the stream has to
    # start is no part of the pace.
    first, second = fakes.reports
    assert first["rows_per_s"] == pytest.approx(20 / 5)
    assert first["wait_share"] == pytest.approx(1 / 5)
    assert second["rows_per_s"] == pytest.approx(20 / 6)
    assert second["wait_share"] == pytest.approx(2 / 6)
    assert [report["rows"] for report in fakes.reports] == [20, 40]
    assert {report["lr"] for report in fakes.reports} == {0.05}


def test_a_resumed_run_goes_on_with_the_sums_of_the_one_before(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, training={"report_every": 4, "epochs": 1})
    state = make_state(ConvTask())
    state.step, state.rows, state.interval = 2, 20, totals(20, loss=0.5)
    fakes = Fakes()
    run(plan, fakes, state=state)
    assert [h[1] for h in kinds(fakes, "step")] == [2, 3]
    assert kinds(fakes, "report") == [("report", 4, 1.5)]
    assert fakes.reports[0]["rows_per_s"] == pytest.approx(20 / 5)


@pytest.mark.parametrize(("spoilt", "word"), [(float("nan"), "nan"), (float("inf"), "infinite")])
def test_a_loss_that_is_no_number_ends_the_run_and_names_the_step_and_the_rows(
    spoilt: float, word: str, tmp_path: Path
) -> None:
    plan = make_plan(tmp_path, training={"report_every": 3}, checkpoint=EACH_STEP)
    fakes = Fakes(losses={4: spoilt})
    with pytest.raises(
        JobFailedError,
        match=rf"loss became {word} in step 5 \(epoch 2\): row 0, on worker 0\n  row 0 is row 0 of",
    ) as e:
        run(plan, fakes)
    assert e.value.hint is not None
    # Not reported, and not offered to the saver.
    assert kinds(fakes, "report") == [("report", 3, 1.0)]
    assert kinds(fakes, "offer")[-1][1] == 5


def test_a_stream_that_ends_early_is_an_error(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    with pytest.raises(JobFailedError, match=re.escape("ended after step 5 of 8")):
        run(plan, Fakes(), last=5)


def test_nothing_is_read_past_the_last_step(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, training={"epochs": None, "steps": 5})
    taken = []

    def watched(batches: Iterable[LocalBatch]) -> Iterator[LocalBatch]:
        for batch in batches:
            taken.append((batch.epoch, batch.step))
            yield batch

    run(plan, Fakes(), last=8, batches=watched)
    assert taken == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0)]


class FailingValidation(Fakes):
    def evaluate(self) -> Scores:
        raise ValueError("the user's mistake")


@pytest.mark.parametrize(("steps", "offered"), [(6, [1, 2, 3]), (3, [1, 2])])
def test_a_validation_that_fails_costs_no_training_but_does_not_finish_the_run(
    tmp_path: Path, steps: int, offered: list[int]
) -> None:
    plan = make_plan(
        tmp_path,
        training={"validate_every": "3 steps", "epochs": None, "steps": steps},
        checkpoint=EACH_STEP,
    )
    fakes = FailingValidation()
    with pytest.raises(ValueError, match="the user's mistake"):
        run(plan, fakes)
    assert [happening[1] for happening in kinds(fakes, "offer")] == offered


def test_a_request_to_stop_is_heeded_a_step_later_after_its_save(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, training={"epochs": 2, "validate_every": "3 steps"})
    fakes = Fakes(stop_after=2)
    with pytest.raises(StopRequested, match="stopped as requested after step 3 of 8"):
        run(plan, fakes)
    scores = {"accuracy": 0.5, "loss": 1.5}
    assert fakes.happened[-4:] == [
        ("offer", 3, False, scores),
        ("save", 3, scores),
        ("wait",),
        ("stopped", 3),
    ]


def test_a_time_that_is_up_leads_to_a_save_a_step_later(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, training={"epochs": 2}, checkpoint={"every": "1h"})
    fakes = Fakes(overdue={3, 4})
    run(plan, fakes)
    # Step 5 is offered too: the saver may have been too late to know of the save in between.
    assert [happening[1] for happening in kinds(fakes, "offer")] == [4, 5, 8]


@pytest.mark.parametrize(
    ("every", "best", "offered"),
    [
        ("3 steps", None, [3, 6, 8]),
        ("1 epoch", None, [4, 8]),
        ("1h", {"metric": "accuracy"}, [4, 8]),
        ("1h", None, [8]),
    ],
)
def test_steps_that_are_the_same_for_all_ranks_are_saved_at_once(
    every: str, best: dict[str, str] | None, offered: list[int], tmp_path: Path
) -> None:
    plan = make_plan(tmp_path, training={"epochs": 2}, checkpoint={"every": every, "best": best})
    fakes = Fakes()
    run(plan, fakes)
    assert [happening[1] for happening in kinds(fakes, "offer")] == offered


def test_a_run_that_has_made_its_last_step_finishes_instead_of_stopping(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, training={"epochs": 1})
    fakes = Fakes(stop_after=3)
    run(plan, fakes)
    assert not kinds(fakes, "stopped")


def test_a_save_that_failed_behind_ends_the_training_at_the_next_step(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, training={"epochs": 1}, checkpoint=EACH_STEP)
    fakes = Fakes(save_fails_after=2)
    with pytest.raises(CheckpointError, match="000002-001: the disk is full"):
        run(plan, fakes)
    assert [happening[1] for happening in kinds(fakes, "step")] == [0, 1, 2]
    # The step that learnt of it is not saved in its turn.
    assert [happening[1] for happening in kinds(fakes, "offer")] == [1, 2]


def test_only_the_last_save_is_waited_for(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, training={"epochs": 1}, checkpoint=EACH_STEP)
    fakes = Fakes()
    run(plan, fakes)
    assert [happening[0] for happening in kinds(fakes, "offer", "wait")] == [*["offer"] * 4, "wait"]


def test_sums_from_before_a_restart_are_told_by_the_step_alone(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, training={"report_every": 4})
    state = make_state(ConvTask())
    state.step, state.rows, state.interval = 2, 20, totals(20, loss=float("nan"))
    with pytest.raises(JobFailedError, match=r"loss became nan by step 4 \(epoch 1\)$"):
        run(plan, Fakes(), state=state)
