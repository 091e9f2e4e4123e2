"""A run whose worker has a GPU, and one that is killed there and goes on."""

from pathlib import Path

import pytest

from tests.support.data import write_rows
from tests.support.faults import kill_rank
from tests.support.ledgers import assert_exact_run
from tests.support.runs import Run, write_job


def test_a_run_that_is_killed_on_a_gpu_goes_on_to_the_same_losses(tmp_path: Path) -> None:
    job = write_job(
        tmp_path / "job.yaml",
        dataset={"train": {"paths": str(write_rows(tmp_path / "train", 240))}},
        training={"task": "tests.support.task:CudaTask", "optimizer": {"type": "adamw"}},
        scaling={"workers": 1, "gpus_per_worker": 1},
        checkpoint={"every": "4 steps", "keep_latest": 100},
    )
    undisturbed = Run(job, "undisturbed")
    undisturbed.complete()
    killed = Run(job, "killed")
    driver = killed.start("training.with.step_s=0.3")
    driver.wait_for("a checkpoint", lambda: bool(killed.events("checkpoint")))
    kill_rank(driver.session())
    driver.finish()
    assert len(killed.attempts()) == 2
    assert killed.losses() == pytest.approx(undisturbed.losses())
    assert assert_exact_run(killed.dir) == 2
