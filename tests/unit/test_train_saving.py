"""The first rank saves when the policy says so and when a validation is the best so far."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from orchestrator.checkpoint.attempts import Attempt, AttemptLog
from orchestrator.checkpoint.open_epoch import read_open_epoch
from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.data.fitted import FittedState, parse_states
from orchestrator.errors import CheckpointError, JobFailedError
from orchestrator.jsonl import read_json_lines
from orchestrator.plan.job import JobPlan
from orchestrator.plan.open_epoch import OpenEpoch
from orchestrator.report.records import parse_events
from orchestrator.train.recorder import Recorder
from orchestrator.train.saving import Saver
from orchestrator.train.state import TrainState
from orchestrator.train.totals import Totals
from tests.support.training import ConvTask, make_plan, make_state, strategy_of

KEEP_ALL = 100
BEST = {"metric": "accuracy", "mode": "max"}


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path, attempt=1)
    yield recorder
    recorder.close()


def plan_with(folder: Path, **checkpoint: object) -> JobPlan:
    return make_plan(folder, checkpoint={"keep_latest": KEEP_ALL, **checkpoint})


def saved_steps(
    plan: JobPlan, folder: Path, recorder: Recorder, scores: dict[int, float] | None = None
) -> list[int]:
    """The steps of a run of two epochs of four steps that are saved."""
    saver = Saver(plan, folder, attempt=1, recorder=recorder)
    state = make_state(ConvTask())
    for step in range(1, 9):
        state.step = step
        metrics = {"accuracy": scores[step]} if scores and step in scores else {}
        saver.after_step(state, epoch_finished=step % 4 == 0, metrics=metrics)
    saver.wait()
    return sorted(
        info.manifest.step for info in CheckpointStore(folder / "checkpoints").committed()
    )


@pytest.mark.parametrize(
    ("every", "steps"),
    [
        ("3 steps", [3, 6, 8]),
        ("1 epoch", [4, 8]),
        ("2 epochs", [8]),
        ("100 steps", [8]),
        ("1h", [8]),
    ],
)
def test_it_saves_as_often_as_the_spec_says_and_at_the_end(
    every: str, steps: list[int], tmp_path: Path, recorder: Recorder
) -> None:
    assert saved_steps(plan_with(tmp_path, every=every), tmp_path, recorder) == steps


@pytest.mark.parametrize(
    ("mode", "scores", "steps"),
    [
        ("max", {2: 0.5, 4: 0.4, 6: 0.6}, [2, 6, 8]),
        ("min", {2: 0.5, 4: 0.4, 6: 0.6}, [2, 4, 8]),
        ("max", {2: 0.5, 4: 0.5}, [2, 8]),
        ("max", {2: math.nan, 4: -1.0, 6: math.inf}, [4, 8]),
        ("min", {2: math.nan, 4: -math.inf}, [8]),
    ],
)
def test_a_validation_that_is_the_best_so_far_is_saved(
    mode: str, scores: dict[int, float], steps: list[int], tmp_path: Path, recorder: Recorder
) -> None:
    plan = plan_with(tmp_path, every="100 steps", best={**BEST, "mode": mode})
    assert saved_steps(plan, tmp_path, recorder, scores) == steps


def test_a_validation_among_the_best_that_are_kept_is_saved(
    tmp_path: Path, recorder: Recorder
) -> None:
    plan = plan_with(tmp_path, every="100 steps", keep_latest=1, best={**BEST, "keep": 2})
    scores = {1: 0.5, 2: 0.95, 3: 0.94, 4: 0.93, 5: 0.1}
    assert saved_steps(plan, tmp_path, recorder, scores) == [2, 3, 8]


def test_after_a_restart_the_old_best_has_to_be_beaten(tmp_path: Path, recorder: Recorder) -> None:
    plan = plan_with(tmp_path, every="100 steps", best=BEST)
    saved_steps(plan, tmp_path, recorder, {2: 0.9})
    state = make_state(ConvTask())
    saver = Saver(plan, tmp_path, attempt=1, recorder=recorder)
    for step, accuracy in ((11, 0.8), (12, 0.95)):
        state.step = step
        saver.after_step(state, epoch_finished=False, metrics={"accuracy": accuracy})
    saver.wait()
    store = CheckpointStore(tmp_path / "checkpoints")
    assert [info.manifest.step for info in store.committed()] == [12, 8, 2]


def test_a_checkpoint_says_where_it_stands_and_what_it_scored(
    tmp_path: Path, recorder: Recorder
) -> None:
    plan = plan_with(tmp_path, every="6 steps")
    saver = Saver(plan, tmp_path, attempt=1, recorder=recorder)
    state = make_state(ConvTask())
    state.step, state.rows = 6, 60
    saver.after_step(state, epoch_finished=False, metrics={"accuracy": 0.5, "loss": 1.5})
    saver.wait()
    (info,) = CheckpointStore(tmp_path / "checkpoints").committed()
    manifest = info.manifest
    assert (manifest.step, manifest.attempt) == (6, 1)
    assert manifest.cursor == {"epoch": 1, "step": 2}
    assert manifest.metrics == {"accuracy": 0.5, "loss": 1.5}
    assert manifest.order_fingerprint == plan.fingerprint.digest
    assert set(manifest.versions) == {
        "orchestrator",
        "python",
        "ray",
        "torch",
        "numpy",
        "pyarrow",
    }
    (event,) = parse_events(read_json_lines(tmp_path / "events.jsonl"))
    assert (event.event, event.step) == ("checkpoint", 6)
    assert event.fields["bytes"] == sum(entry.size for entry in manifest.files)
    loaded = make_state(ConvTask())
    loaded.read(info.path)
    assert (loaded.step, loaded.rows) == (6, 60)


def spoil_weights(state: TrainState) -> None:
    with torch.no_grad():
        next(iter(strategy_of(state).model.parameters())).fill_(float("inf"))


def spoil_sums(state: TrainState) -> None:
    state.interval = Totals(names=("loss",), sums=torch.tensor([float("nan"), 10.0]))


def test_spoilt_weights_never_become_a_checkpoint(tmp_path: Path, recorder: Recorder) -> None:
    # Else every restart would begin with them, and fail as the first one did.
    saver = Saver(plan_with(tmp_path, every="1 steps"), tmp_path, attempt=1, recorder=recorder)
    state = make_state(ConvTask())
    state.step = 1
    saver.after_step(state, epoch_finished=False, metrics={})
    state.step = 2
    spoil_weights(state)
    with pytest.raises(JobFailedError, match="is not finite after step 2; it is not saved"):
        saver.after_step(state, epoch_finished=False, metrics={})
    saver.wait()
    (info,) = CheckpointStore(tmp_path / "checkpoints").committed()
    assert info.manifest.step == 1


def test_a_spoilt_loss_is_not_saved_and_left_to_the_report(
    tmp_path: Path, recorder: Recorder
) -> None:
    saver = Saver(plan_with(tmp_path, every="1 steps"), tmp_path, attempt=1, recorder=recorder)
    state = make_state(ConvTask())
    state.step = 1
    spoil_sums(state)
    # The weights, too: the report says more about both.
    spoil_weights(state)
    saver.after_step(state, epoch_finished=False, metrics={})
    assert not saver.save(state, metrics={})
    assert CheckpointStore(tmp_path / "checkpoints").committed() == []


def test_a_step_is_saved_once_whoever_asks(tmp_path: Path, recorder: Recorder) -> None:
    plan = plan_with(tmp_path, every="1 steps", best=BEST)
    saver = Saver(plan, tmp_path, attempt=1, recorder=recorder)
    state = make_state(ConvTask())
    state.step = 3
    assert saver.save(state, metrics={})
    saver.after_step(state, epoch_finished=False, metrics={"accuracy": 0.5})
    assert saver.save(state, metrics={})
    saver.wait()
    (info,) = CheckpointStore(tmp_path / "checkpoints").committed()
    assert info.manifest.step == 3


def test_an_attempt_that_was_succeeded_saves_nothing_more(
    tmp_path: Path, recorder: Recorder
) -> None:
    saver = Saver(plan_with(tmp_path, every="1 steps"), tmp_path, attempt=1, recorder=recorder)
    AttemptLog(tmp_path / "attempts").begin(
        Attempt(
            number=2,
            parent=None,
            step=0,
            checkpoint=None,
            checkpoint_digest=None,
            workers=1,
            driver=2,
            reason="started",
            host="h",
            pid=1,
            started_at=0.0,
        )
    )
    state = make_state(ConvTask())
    state.step = 1
    saver.after_step(state, epoch_finished=False, metrics={})
    with pytest.raises(CheckpointError, match="attempt 1 has been succeeded by attempt 2"):
        saver.wait()
    assert CheckpointStore(tmp_path / "checkpoints").committed() == []


def test_a_checkpoint_holds_what_the_transforms_were_fitted_to(
    tmp_path: Path, recorder: Recorder
) -> None:
    states = (FittedState(use="pkg.code:Impute", position=2, text='{"mean": 0.1}'),)
    plan = plan_with(tmp_path, every="1 steps")
    saver = Saver(plan, tmp_path, attempt=1, recorder=recorder, fitted=states)
    state = make_state(ConvTask())
    state.step = 1
    saver.after_step(state, epoch_finished=False, metrics={})
    saver.wait()
    (saved,) = CheckpointStore(tmp_path / "checkpoints").committed()
    assert "preprocessing.json" in {entry.path for entry in saved.manifest.files}
    assert parse_states((saved.path / "preprocessing.json").read_text()) == states


def test_a_checkpoint_in_the_middle_of_a_relaxed_epoch_says_which_steps_are_done(
    tmp_path: Path, recorder: Recorder
) -> None:
    plan = plan_with(tmp_path)
    saver = Saver(plan, tmp_path, attempt=1, recorder=recorder)
    state = make_state(ConvTask())
    opened = OpenEpoch(epoch=0, done=((0, 1), (2, 3)))
    for step, open_epoch in [(1, None), (2, opened), (4, None)]:
        state.step, state.open_epoch = step, open_epoch
        saver.save(state, metrics={})
    saver.wait()
    geometry = plan.train.geometry
    found = {
        info.manifest.step: read_open_epoch(info.path, geometry.cursor(info.manifest.step))
        for info in CheckpointStore(tmp_path / "checkpoints").committed()
    }
    assert found == {1: None, 2: opened, 4: None}
