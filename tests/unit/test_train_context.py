"""An own loop: exact for any number of workers, resumed to the bit, and told what it does wrong."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from orchestrator import TrainContext
from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.errors import CheckpointError, DataError, JobFailedError
from orchestrator.jsonl import read_json_lines
from orchestrator.plan.job import JobPlan
from orchestrator.report.records import TrainRecord, ValidationRecord, parse_records
from orchestrator.train.stop import STOP_FILE, StopRequested
from tests.support import rank_jobs
from tests.support.books import run_own_loop
from tests.support.loops import train_images
from tests.support.ranks import run_ranks, try_ranks
from tests.support.training import make_plan

# Steps of 10 rows: 7 an epoch, the last of which has 6 of 66 rows.
ROWS, BATCH, STEPS = 66, 10, 14
FOUR_PLACES = [1, 6, 7, 9]  # in an epoch, before its end, at it with a validation, in the next one


def plan_of(folder: Path, **training: object) -> JobPlan:
    return make_plan(
        folder,
        rows=ROWS,
        batch=BATCH,
        training={"report_every": 4, **training},
        checkpoint={"every": "1 steps", "keep_latest": 100},
    )


def records(plan: JobPlan) -> list[TrainRecord | ValidationRecord]:
    return parse_records(read_json_lines(plan.run_dir / "metrics.jsonl"))


def numbers(record: TrainRecord | ValidationRecord) -> dict[str, float]:
    loss = {"loss": record.loss, "lr": record.lr} if isinstance(record, TrainRecord) else {}
    return {"step": record.step, **loss, **record.metrics}


@pytest.mark.parametrize("workers", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_any_number_of_workers_trains_the_same_model(workers: int, tmp_path: Path) -> None:
    alone = rank_jobs.own_loop(plan_of(tmp_path / "alone"))
    plan = plan_of(tmp_path / "ranks")
    ranks = run_ranks(workers, partial(rank_jobs.own_loop, pieces=2), plan, folder=tmp_path)
    assert len({rank["digest"] for rank in ranks}) == 1
    for rank in ranks:
        for name, weight in alone["weights"].items():
            np.testing.assert_allclose(rank["weights"][name], weight, rtol=0, atol=1e-5)
    for here, there in zip(records(plan), records(plan_of(tmp_path / "alone")), strict=True):
        assert numbers(here) == pytest.approx(numbers(there), abs=1e-5)
        assert here.rows == there.rows


def test_a_restart_anywhere_changes_no_bit(tmp_path: Path) -> None:
    options = {"width": 24, "norm": True, "dropout": 0.2}
    plan = plan_of(tmp_path)
    job = partial(rank_jobs.own_loop, **options)
    undisturbed = run_ranks(3, job, plan, folder=tmp_path)
    reported = [numbers(record) for record in records(plan)]
    for attempt, step in enumerate(FOUR_PLACES, start=2):
        (plan.run_dir / "metrics.jsonl").unlink()
        resumed = run_ranks(3, partial(job, begin_at=step, attempt=attempt), plan, folder=tmp_path)
        assert [rank["digest"] for rank in resumed] == [rank["digest"] for rank in undisturbed]
        later = [numbers(record) for record in records(plan)]
        assert later == [record for record in reported if record["step"] > step]


def test_every_row_is_trained_once_an_epoch_and_validated_once_a_pass(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, report_every=1)
    run_ranks(3, rank_jobs.own_loop, plan, folder=tmp_path)
    trained = [record for record in records(plan) if isinstance(record, TrainRecord)]
    validated = [record for record in records(plan) if isinstance(record, ValidationRecord)]
    assert [record.step for record in trained] == list(range(1, STEPS + 1))
    assert trained[-1].rows == 2 * ROWS
    ids = [record.metrics["id"] for record in trained[:7]]
    assert ids == pytest.approx([4.5, 14.5, 24.5, 34.5, 44.5, 54.5, 62.5])
    assert [(r.step, r.rows, r.metrics["id"]) for r in validated] == [
        (7, ROWS, 32.5),
        (14, ROWS, 32.5),
    ]


def test_a_stop_request_saves_the_step_and_ends_the_training(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, rows=ROWS, batch=BATCH, checkpoint={"every": "100 steps"})

    def until_asked(context: TrainContext) -> None:
        for batch in bare(context):
            if context.step == 2:
                (plan.run_dir / STOP_FILE).write_text("1\n")
            step(context, batch)

    with pytest.raises(StopRequested, match="stopped as requested after step 4 of 14") as caught:
        run_own_loop(until_asked, plan)
    assert caught.value.exit_code == 130
    (info,) = CheckpointStore(plan.run_dir / "checkpoints").committed()
    # The request is seen after step 3, and known to all workers a step later.
    assert info.manifest.step == 4
    events = [json.loads(line) for line in (plan.run_dir / "events.jsonl").read_text().splitlines()]
    assert [(event["event"], event["step"]) for event in events] == [
        ("training-started", 0),
        ("checkpoint", 4),
        ("stopped", 4),
    ]


def bare(context: TrainContext) -> Any:
    """The batches for a model of one weight."""
    model = context.prepare(nn.Linear(1, 1))
    context.model = model  # type: ignore[attr-defined]
    context.restore(model=model)
    return context.batches()


def step(context: TrainContext, batch: Any) -> None:
    losses = context.model(batch["id"].float().unsqueeze(1)).squeeze(1)  # type: ignore[attr-defined]
    batch.mean(losses).backward()
    context.step_done()


def forgets_a_step(context: TrainContext) -> None:
    for _ in bare(context):
        pass


def counts_twice(context: TrainContext) -> None:
    for batch in bare(context):
        step(context, batch)
        context.step_done()


def stops_early(context: TrainContext) -> None:
    for batch in bare(context):
        step(context, batch)
        if context.step == 3:
            break


def restores_nothing(context: TrainContext) -> None:
    next(iter(context.batches()))


def restores_twice(context: TrainContext) -> None:
    bare(context)
    context.restore()


def restores_a_number(context: TrainContext) -> None:
    context.restore(count=3)  # type: ignore[arg-type]


class Secret:
    def state_dict(self) -> dict[str, Any]:
        return {"self": self}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def restores_code(context: TrainContext) -> None:
    context.restore(secret=Secret())


def misshapes(context: TrainContext) -> None:
    for batch in bare(context):
        batch.mean(batch["x"])


def loses_rows(context: TrainContext) -> None:
    for batch in bare(context):
        batch.mean(batch["id"][:4].float())
        context.step_done()


def saves_in_the_middle(context: TrainContext) -> None:
    for _ in bare(context):
        context.save()


def validates_at_will(context: TrainContext) -> None:
    for batch in bare(context):
        step(context, batch)
        context.validation()


def reports_text(context: TrainContext) -> None:
    context.report(note="good")  # type: ignore[arg-type]


def raises(context: TrainContext) -> None:
    for _ in bare(context):
        raise ValueError("the user's mistake")


@pytest.mark.parametrize(
    ("loop", "message"),
    [
        (forgets_a_step, r"training.loop: pkg:train: the next batch is asked for before step_done"),
        (counts_twice, "a step is done that has no batch"),
        (stops_early, "it returned after step 3 of 14"),
        (restores_nothing, r"restore\(\) has to be called before batches\(\)"),
        (restores_twice, "called a second time"),
        (restores_a_number, r"restore\(\) got count of type int; wanted something with state_dict"),
        (restores_code, "the state of secret could not be read from a checkpoint: "),
        (misshapes, r"the losses have shape \[10, 1, 6, 6\] for 10 rows; wanted one value a row"),
        (loses_rows, r"given no losses, and batch.mean\(\) did not get those of all rows"),
        (saves_in_the_middle, r"call it after step_done\(\)"),
        (validates_at_will, "for a step after which validation_due is true"),
        (reports_text, "context.report gave 'note' of type str; wanted a number"),
        (raises, "pkg:train failed: ValueError: the user's mistake"),
    ],
)
def test_what_a_loop_does_wrong_is_told_once(
    loop: Callable[[TrainContext], None], message: str, tmp_path: Path
) -> None:
    with pytest.raises(JobFailedError, match=message) as caught:
        run_own_loop(loop, plan_of(tmp_path), root=Path(__file__).parent)
    if loop not in (stops_early, reports_text):
        assert f"in {loop.__name__}" in str(caught.value)


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    def wants_a_label(context: TrainContext) -> None:
        for batch in bare(context):
            batch["label"]

    with pytest.raises(
        DataError, match=r'training.loop: pkg:train asks for column "label", which the transforms'
    ):
        run_own_loop(wants_a_label, plan_of(tmp_path))


def test_a_checkpoint_of_other_parts_is_refused(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    run_own_loop(train_images, plan)
    with pytest.raises(CheckpointError, match=r"but this code restores model$"):
        run_own_loop(stops_early, plan, attempt=2, begin_at=7)


def test_a_step_that_was_done_is_saved_before_its_validation_fails(tmp_path: Path) -> None:
    def fails(context: TrainContext) -> None:
        for batch in bare(context):
            step(context, batch)
            if context.validation_due:
                raise ValueError("no score")

    plan = plan_of(tmp_path, validate_every="3 steps")
    with pytest.raises(JobFailedError, match="no score"):
        run_own_loop(fails, plan)
    found = CheckpointStore(plan.run_dir / "checkpoints").committed()
    assert [info.manifest.step for info in found] == [3, 2, 1]


def test_save_writes_a_checkpoint_whatever_the_spec_says(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, rows=ROWS, batch=BATCH, checkpoint={"every": "100 steps"})

    def saves(context: TrainContext) -> None:
        for batch in bare(context):
            step(context, batch)
            if context.step == 5:
                context.save()

    run_own_loop(saves, plan)
    found = CheckpointStore(plan.run_dir / "checkpoints").committed()
    assert [info.manifest.step for info in found] == [14, 5]


def test_numbers_of_the_users_own_stand_in_the_next_report(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)

    def reports(context: TrainContext) -> None:
        for batch in bare(context):
            context.report(at=context.step)
            step(context, batch)

    run_own_loop(reports, plan)
    found = [record.metrics for record in records(plan)]
    assert found == [{"at": 3.0}, {"at": 7.0}, {"at": 11.0}, {"at": 13.0}]


def test_what_follows_the_result_of_a_validation_belongs_to_training(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, validate_every="3 steps", report_every=5)

    def reports(context: TrainContext) -> None:
        for batch in bare(context):
            step(context, batch)
            if context.validation_due:
                context.validation()
                context.report(score=context.step)
                context.report(more=context.step)

    run_own_loop(reports, plan)
    found = [(record.step, dict(record.metrics)) for record in records(plan)]
    assert found[:5] == [
        (3, {"score": 3.0}),
        (5, {"more": 3.0}),
        (6, {"score": 6.0}),
        (9, {"score": 9.0}),
        (10, {"more": 9.0}),
    ]


def test_a_pass_that_was_left_halfway_does_not_disturb_the_next(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, validate_every="2 steps")
    seen = []

    def looks(context: TrainContext) -> None:
        for batch in bare(context):
            step(context, batch)
            if context.validation_due:
                first = next(iter(context.validation()))
                seen.append((context.step, first.rows.tolist()))

    run_own_loop(looks, plan)
    assert seen == [(step, list(range(BATCH))) for step in range(2, STEPS + 1, 2)]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_loss_that_is_no_number_is_named_by_step_rows_and_file(
    workers: int, tmp_path: Path
) -> None:
    plan = plan_of(tmp_path)
    job = partial(rank_jobs.own_loop, spoil=(33, 37, 38, 39))
    for rank in try_ranks(workers, job, plan, folder=tmp_path):
        # All ranks say the same, whichever of them holds which rows.
        assert isinstance(rank.error, JobFailedError)
        assert str(rank.error) == (
            "the loss became nan in step 4 (epoch 1): rows 33, 37, 38 (and 1 more), on"
            f" {'worker 0' if workers == 1 else 'workers 1, 2'}"
            "\n  row 33 is row 33 of part-0.parquet"
            "\n  row 37 is row 37 of part-0.parquet"
            "\n  row 38 is row 38 of part-0.parquet"
        )
    # The steps before are safe, that one was not saved.
    found = CheckpointStore(plan.run_dir / "checkpoints").committed()
    assert [info.manifest.step for info in found] == [3, 2, 1]


def test_a_batch_says_where_it_belongs(tmp_path: Path) -> None:
    seen: list[tuple[Any, ...]] = []

    def looks(context: TrainContext) -> None:
        for batch in bare(context):
            x: Tensor = batch["x"]
            seen.append((batch.step, context.step, batch.epoch, context.epoch, batch.global_rows))
            assert len(x) == len(batch.rows)
            step(context, batch)

    run_own_loop(looks, plan_of(tmp_path))
    assert seen == [(n, n, n // 7, n // 7, 6 if n % 7 == 6 else 10) for n in range(STEPS)]
    assert torch.is_grad_enabled()
