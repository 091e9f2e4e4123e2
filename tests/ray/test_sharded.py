"""Runs with a sharded model: killed, stopped, resized or damaged, they go on from its pieces."""

import signal
from pathlib import Path

import pytest

import orchestrator.export
from orchestrator.train.state import read_parts
from tests.support.data import write_rows
from tests.support.faults import kill_rank
from tests.support.ledgers import assert_exact_run
from tests.support.runs import Run, write_job

STEPS = 20


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two workers, two epochs of ten steps, and micro-batches of which ranks have more or fewer."""
    folder = tmp_path_factory.mktemp("sharded")
    return write_job(
        folder / "job.yaml",
        dataset={"train": {"paths": str(write_rows(folder / "train", 230))}},
        training={
            # Which other numbers of workers would draw otherwise.
            "with": {"dropout": 0.0},
            "strategy": "fsdp",
            "optimizer": {"type": "adamw"},
            "micro_batch_size": 4,
            "clip_norm": 1.0,
        },
        scaling={"workers": 2},
        checkpoint={"every": "4 steps", "keep_latest": 100},
    )


@pytest.fixture(scope="module")
def undisturbed(job: Path) -> Run:
    run = Run(job, "undisturbed")
    run.complete()
    assert assert_exact_run(run.dir) == 2
    return run


def newest(run: Run) -> Path:
    return max((run.dir / "checkpoints").glob("step-*"))


def assert_near(run: Run, undisturbed: Run) -> None:
    """The results of another number of workers: they add in another order."""
    assert assert_exact_run(run.dir) == 2
    losses, wanted = run.losses(), undisturbed.losses()
    assert losses.keys() == wanted.keys()
    assert list(losses.values()) == pytest.approx(list(wanted.values()), rel=1e-3)


def test_each_rank_writes_its_pieces_and_the_whole_is_exported(undisturbed: Run) -> None:
    names = {path.name for path in (newest(undisturbed) / "shards").iterdir()}
    assert names == {".metadata", "__0_0.distcp", "__1_0.distcp"}
    weights = read_parts(newest(undisturbed))["model"]
    exported = orchestrator.export.load(undisturbed.dir / "model").model().state_dict()
    assert exported.keys() == weights.keys()
    for name, value in exported.items():
        assert value.equal(weights[name])


def test_the_whole_model_on_each_worker_learns_the_same(job: Path, undisturbed: Run) -> None:
    run = Run(job, "whole")
    run.complete("training.strategy=ddp")
    assert_near(run, undisturbed)


def test_a_run_that_is_killed_while_it_saves_goes_on_to_the_same_bits(
    job: Path, undisturbed: Run
) -> None:
    run = Run(job, "killed")
    driver = run.start("checkpoint.every=0.15s", "training.with.step_s=0.1")
    driver.wait_for("three checkpoints", lambda: len(run.events("checkpoint")) >= 3)
    kill_rank(driver.session())
    driver.finish()
    second = run.attempts()[1]
    assert 0 < int(str(second["step"])) < STEPS
    assert run.losses() == undisturbed.losses()
    assert run.state_digest() == undisturbed.state_digest()
    assert assert_exact_run(run.dir) == 2


@pytest.mark.slow
def test_a_stopped_run_goes_on_with_other_workers_and_not_from_damage(
    job: Path, undisturbed: Run
) -> None:
    run = Run(job, "resized")
    driver = run.start("training.with.step_s=0.3")
    driver.wait_for_step(10)
    driver.signal_group(signal.SIGINT)
    driver.finish(code=130)
    (stopped,) = run.events("stopped")
    assert newest(run).name.startswith(f"step-{int(str(stopped['step'])):09d}")
    piece = newest(run) / "shards" / "__1_0.distcp"
    content = bytearray(piece.read_bytes())
    content[len(content) // 2] ^= 1
    piece.write_bytes(content)
    printed = run.complete("scaling.workers=3")
    assert "__1_0.distcp has SHA-256" in printed
    second = run.attempts()[1]
    assert (second["workers"], second["step"]) == (3, (int(str(stopped["step"])) - 1) // 4 * 4)
    assert_near(run, undisturbed)
