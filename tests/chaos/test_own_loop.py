"""A loop of the user's own keeps the promises: killed in mid-epoch, it ends to the same bits."""

from pathlib import Path

import pytest
from safetensors.numpy import load_file

from tests.support.data import write_rows
from tests.support.runs import Run, write_job

# 331 rows: no batch and no number of workers divides them. 14 steps an epoch, the last of 19 rows.
ROWS, STEPS = 331, 4 * 14


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loop")
    return write_job(
        folder / "job.yaml",
        dataset={
            "train": {"paths": str(write_rows(folder / "train", ROWS))},
            "validation": {"paths": str(write_rows(folder / "validation", 101))},
        },
        training={
            "task": None,
            "loop": "tests.support.loops:train",
            "with": {"step_s": 0.1},
            "epochs": 4,
        },
        # Three workers: their sums depend on the order of additions, which two would hide.
        scaling={"workers": 3, "superblock_steps": 2},
        checkpoint={"best": {"metric": "accuracy", "mode": "max"}},
    )


@pytest.mark.slow
def test_a_killed_worker_and_a_killed_driver_cost_an_own_loop_not_one_bit(job: Path) -> None:
    undisturbed, run = Run(job, "undisturbed"), Run(job, "killed")
    undisturbed.complete()
    assert undisturbed.step() == STEPS

    driver = run.start()
    driver.wait_for_step(11)
    driver.processes("RayTrainWorker")[-1].kill()
    driver.wait_for_step(20)
    driver.process.kill()
    driver.process.wait()
    run.complete()

    _, second, third = run.attempts()
    assert (second["parent"], third["parent"]) == (1, 2)
    assert 0 < int(str(second["step"])) < int(str(third["step"]))
    assert run.losses() == undisturbed.losses()
    assert run.state_digest() == undisturbed.state_digest()
    scores = [
        {record["step"]: (record["metrics"], record["rows"]) for record in found}
        for found in (run.metrics("validation"), undisturbed.metrics("validation"))
    ]
    assert scores[0] == scores[1]
    assert list(scores[1]) == [14, 28, 42, 56]
    weights = load_file(run.dir / "model" / "model.safetensors")
    assert weights["0.weight"].shape == (64, 8)
