"""Processes are killed in the middle of an epoch; the run ends as if nothing had happened."""

from pathlib import Path

import pytest

from tests.support.data import write_rows
from tests.support.runs import Run, wait_until_gone, write_job

# 331 rows: no batch and no number of workers divides them. 14 steps an epoch, the last of 19 rows.
ROWS, STEPS = 331, 4 * 14


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kills")
    return write_job(
        folder / "job.yaml",
        dataset={
            "train": {"paths": str(write_rows(folder / "train", ROWS))},
            "validation": {"paths": str(write_rows(folder / "validation", 101))},
            "shuffle": {"type": "window", "rows": 96},
        },
        training={
            "task": "tests.support.task:SmallTask",
            "with": {"step_s": 0.05},
            "epochs": 4,
            "global_batch_size": 24,
            "report_every": 1,
        },
        # Three workers: their sums depend on the order of additions, which two would hide.
        scaling={"workers": 3, "superblock_steps": 2},
    )


@pytest.fixture(scope="module")
def undisturbed(job: Path) -> Run:
    run = Run(job, "undisturbed")
    run.complete()
    assert run.step() == STEPS
    assert len(run.attempts()) == 1
    return run


def assert_same_end(run: Run, undisturbed: Run) -> None:
    assert run.losses() == undisturbed.losses()
    assert run.state_digest() == undisturbed.state_digest()
    last = [
        record["metrics"] for record in (r.metrics("validation")[-1] for r in (run, undisturbed))
    ]
    assert last[0] == last[1]


def test_a_killed_training_worker_costs_one_restart_and_not_one_bit(
    job: Path, undisturbed: Run
) -> None:
    run = Run(job, "worker")
    driver = run.start()
    driver.wait_for_step(25)
    session = driver.session()
    victim = driver.processes("RayTrainWorker")[-1]
    victim.kill()
    driver.finish()
    (failed,) = run.events("attempt-failed")
    assert failed["attempt"] == 1
    first, second = run.attempts()
    assert second["parent"] == 1
    assert 20 <= int(str(second["step"])) < STEPS
    assert first["driver"] == second["driver"]
    assert_same_end(run, undisturbed)
    wait_until_gone(session)


def test_after_a_killed_driver_the_same_command_resumes_at_the_checkpoint(
    job: Path, undisturbed: Run
) -> None:
    run = Run(job, "driver")
    driver = run.start()
    driver.wait_for_step(25)
    session = driver.session()
    driver.process.kill()
    driver.process.wait()
    printed = run.complete()
    # Nothing of the dead driver has outlived the start of the next one.
    wait_until_gone(session, limit_s=0.0)
    second = run.attempts()[1]
    assert int(str(second["step"])) >= 20
    assert f"from {second['checkpoint']}" in printed
    assert first_step_of(run, attempt=2) == int(str(second["step"])) + 1
    assert_same_end(run, undisturbed)


def test_a_killed_preprocessing_worker_does_not_restart_the_training(
    job: Path, undisturbed: Run
) -> None:
    run = Run(job, "preprocessing")
    driver = run.start()
    driver.wait_for_step(10)
    victims = driver.processes("MapWorker")
    assert victims
    for victim in victims:
        victim.kill()
    driver.finish()
    assert len(run.attempts()) == 1
    assert_same_end(run, undisturbed)


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_is_set_aside_and_the_one_before_it_serves(
    job: Path, undisturbed: Run
) -> None:
    run = Run(job, "damaged")
    driver = run.start()
    driver.wait_for("two checkpoints", lambda: len(run.events("checkpoint")) >= 2)
    driver.process.kill()
    driver.process.wait()
    # They outlive their driver for a moment and may still save; Ray's agents stay for minutes.
    wait_until_gone(driver.session(), "RayTrainWorker")
    newest = max((run.dir / "checkpoints").glob("step-*/MANIFEST.json")).parent
    state = bytearray((newest / "state.pt").read_bytes())
    state[len(state) // 2] ^= 1
    (newest / "state.pt").write_bytes(state)
    printed = run.complete()
    (aside,) = run.events("checkpoint-set-aside")
    assert aside["name"] == newest.name
    assert newest.name in printed
    assert (run.dir / "checkpoints" / "set-aside" / newest.name / "REASON.txt").exists()
    assert run.attempts()[-1]["checkpoint"] != newest.name
    assert int(str(run.attempts()[-1]["step"])) >= 10
    assert_same_end(run, undisturbed)


def first_step_of(run: Run, *, attempt: int) -> int:
    return int(str(next(r["step"] for r in run.metrics() if r["attempt"] == attempt)))
