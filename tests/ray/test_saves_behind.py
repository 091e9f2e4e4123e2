"""Runs that are saved behind their training end as one that is hardly ever saved."""

from pathlib import Path

import pytest

from orchestrator.checkpoint.store import CheckpointStore
from tests.support.data import write_rows
from tests.support.faults import kill_rank
from tests.support.ledgers import assert_exact_run
from tests.support.runs import Run, write_job

STEPS = 20


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two workers, two epochs of ten steps, and an optimizer that has a state to be saved."""
    folder = tmp_path_factory.mktemp("behind")
    return write_job(
        folder / "job.yaml",
        dataset={"train": {"paths": str(write_rows(folder / "train", 240))}},
        training={"with": {"step_s": 0.05}, "optimizer": {"type": "adamw"}},
        scaling={"workers": 2},
        checkpoint={"every": "1000 steps", "keep_latest": 100},
    )


@pytest.fixture(scope="module")
def undisturbed(job: Path) -> Run:
    run = Run(job, "undisturbed")
    run.complete()
    assert [event["step"] for event in run.events("checkpoint")] == [STEPS]
    return run


def assert_same(run: Run, undisturbed: Run) -> None:
    assert run.losses() == undisturbed.losses()
    assert run.state_digest() == undisturbed.state_digest()
    assert assert_exact_run(run.dir) == 2


def test_a_run_that_is_saved_after_each_step_ends_the_same(job: Path, undisturbed: Run) -> None:
    run = Run(job, "each-step")
    run.complete("checkpoint.every=1 steps")
    store = CheckpointStore(run.dir / "checkpoints")
    assert [info.manifest.step for info in store.committed()] == list(range(STEPS, 0, -1))
    for event in run.events("checkpoint"):
        assert 0 <= float(str(event["held_s"])) <= float(str(event["seconds"]))
    assert_same(run, undisturbed)


def test_a_run_that_is_killed_while_it_saves_by_time_goes_on_to_the_same_bits(
    job: Path, undisturbed: Run
) -> None:
    run = Run(job, "killed")
    driver = run.start("checkpoint.every=0.15s", "training.with.step_s=0.15")
    driver.wait_for("three checkpoints", lambda: len(run.events("checkpoint")) >= 3)
    kill_rank(driver.session())
    driver.finish()
    first, second = run.attempts()
    assert second["checkpoint"] is not None
    assert 0 < int(str(second["step"])) < STEPS
    assert (first["parent"], second["parent"]) == (None, 1)
    assert_same(run, undisturbed)
