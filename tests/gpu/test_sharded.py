"""A sharded model on a GPU: one rank, which writes and reads its pieces; killed, it goes on."""

from pathlib import Path

import pytest

import orchestrator.export
from tests.support.data import write_rows
from tests.support.faults import kill_rank
from tests.support.ledgers import assert_exact_run
from tests.support.runs import Run, write_job


def test_a_sharded_run_that_is_killed_on_a_gpu_goes_on_to_the_same_losses(tmp_path: Path) -> None:
    job = write_job(
        tmp_path / "job.yaml",
        dataset={"train": {"paths": str(write_rows(tmp_path / "train", 240))}},
        training={
            "task": "tests.support.task:CudaTask",
            "strategy": "fsdp",
            "optimizer": {"type": "adamw"},
            "micro_batch_size": 10,
            "clip_norm": 1.0,
        },
        scaling={"workers": 1, "gpus_per_worker": 1},
        checkpoint={"every": "4 steps", "keep_latest": 100},
    )
    whole, undisturbed, killed = (Run(job, name) for name in ("whole", "undisturbed", "killed"))
    whole.complete("training.strategy=ddp")
    undisturbed.complete()
    driver = killed.start("training.with.step_s=0.3")
    driver.wait_for("a checkpoint", lambda: bool(killed.events("checkpoint")))
    kill_rank(driver.session())
    driver.finish()
    assert len(killed.attempts()) == 2
    assert undisturbed.losses() == pytest.approx(whole.losses(), rel=1e-3)
    assert killed.losses() == pytest.approx(undisturbed.losses())
    assert assert_exact_run(killed.dir) == 2
    model = orchestrator.export.load(killed.dir / "model").model()
    assert {weight.device.type for weight in model.parameters()} == {"cpu"}
