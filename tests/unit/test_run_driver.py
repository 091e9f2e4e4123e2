"""What a driver does around its attempts; Ray is not started."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.checkpoint.attempts import Attempt
from orchestrator.errors import CheckpointError, JobFailedError, PlanError
from orchestrator.jsonl import JsonLinesWriter, read_json_lines
from orchestrator.plan.job import JobPlan
from orchestrator.run import driver
from orchestrator.run.describe import describe_run
from orchestrator.run.directory import RunDirectory, open_run
from orchestrator.run.driver import Driver
from orchestrator.run.execute import execute
from orchestrator.run.holder import LEASE_FILE
from orchestrator.run.interrupt import Interrupts
from orchestrator.run.lease import Lease, hold_lease
from orchestrator.train.recorder import Recorder
from orchestrator.train.saving import Saver
from tests.support.training import ConvTask, make_plan, make_state


@pytest.fixture
def plan(tmp_path: Path) -> JobPlan:
    return make_plan(tmp_path)


@pytest.fixture
def directory(plan: JobPlan) -> RunDirectory:
    """A run whose last step is in a checkpoint, but whose driver was killed before it said so."""
    directory = open_run(plan)
    describe_run(plan, directory)
    directory.attempts.begin(
        Attempt(
            number=1,
            parent=None,
            step=0,
            checkpoint=None,
            checkpoint_digest=None,
            workers=1,
            driver=1,
            reason="started",
            host="here",
            pid=1,
            started_at=1.0,
        )
    )
    state = make_state(ConvTask())
    state.step = plan.total_steps
    recorder = Recorder(directory.path, attempt=1)
    saver = Saver(plan, directory.path, attempt=1, recorder=recorder)
    saver.after_step(state, epoch_finished=True, metrics={})
    saver.wait()
    recorder.close()
    return directory


def carry_out(plan: JobPlan, directory: RunDirectory) -> str:
    console = Console(file=StringIO(), width=80)
    assert execute(plan, directory, console=console).status.word == "finished"
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_finished_run_is_not_trained_again_and_says_how_to_start_over(
    plan: JobPlan, directory: RunDirectory
) -> None:
    for _ in range(2):
        printed = carry_out(plan, directory)
        assert printed == "the run job is already finished; --fresh starts it over\n"
    ends = [event for event in read_json_lines(directory.events) if event["event"] == "finished"]
    assert [event["step"] for event in ends] == [plan.total_steps]
    assert (directory.model / "export.json").exists()


def test_an_export_that_failed_is_the_last_word_until_it_is_done_again(
    plan: JobPlan, directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, job: Path) -> None:
        raise CheckpointError("cannot write model: the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(driver, "export_model", full)
        with pytest.raises(CheckpointError, match="the disk is full"):
            carry_out(plan, directory)
    last = read_json_lines(directory.events)[-1]
    assert (last["event"], last["exit_code"]) == ("failed", 4)
    carry_out(plan, directory)
    assert read_json_lines(directory.events)[-1]["event"] == "finished"


def test_a_changed_order_is_refused_with_both_ways_out_and_leaves_the_run_as_it_is(
    tmp_path: Path, directory: RunDirectory
) -> None:
    before = directory.events.read_bytes()
    with pytest.raises(PlanError, match="what decides its rows has changed") as caught:
        carry_out(make_plan(tmp_path, rows=50), directory)
    assert "--name" in str(caught.value.hint)
    assert "--fresh" in str(caught.value.hint)
    assert directory.events.read_bytes() == before


def lose(lease: Lease, directory: RunDirectory) -> None:
    (directory.path / LEASE_FILE).unlink()
    lease.renew()


def test_a_driver_that_has_lost_its_run_neither_begins_nor_ends_it(
    plan: JobPlan, directory: RunDirectory
) -> None:
    with (
        hold_lease(directory.path, say=print) as lease,
        JsonLinesWriter(directory.events) as events,
    ):
        late = Driver(plan, directory, events, lease)
        lose(lease, directory)
        with pytest.raises(JobFailedError, match="taken over by another driver"):
            late.train(Interrupts(at_once=lambda: None), say=print)
        with pytest.raises(JobFailedError, match="taken over by another driver"):
            late.finish()
    assert directory.attempts.newest() == 1
    assert not directory.model.exists()
