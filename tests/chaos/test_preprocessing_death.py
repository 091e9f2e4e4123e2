"""A preprocessing worker is killed: it is replaced, told of and charged, and training goes on."""

from pathlib import Path

from orchestrator.ledger.audit import audit_run
from orchestrator.run.budgets import read_account
from tests.support.data import write_rows
from tests.support.faults import RANK, actors, kill_map_worker
from tests.support.ledgers import assert_exact_run
from tests.support.runs import Run, write_job


def test_a_killed_preprocessing_worker_is_replaced_and_training_is_not_restarted(
    tmp_path: Path,
) -> None:
    job = write_job(
        tmp_path / "job.yaml",
        dataset={
            "train": {"paths": str(write_rows(tmp_path / "train", 331))},
            "shuffle": {"type": "window", "rows": 96},
        },
        # As long as the training takes: else all is preprocessed before there is anything to kill.
        transforms=[{"use": "tests.support.transforms:take_long", "with": {"row_s": 0.01}}],
        training={"with": {"step_s": 0.1}, "epochs": 4},
        scaling={"workers": 2, "superblock_steps": 2, "preprocessing": {"workers": 2}},
    )
    run = Run(job, "killed")
    driver = run.start()
    driver.wait_for_step(5)
    ranks = [process.pid for process in actors(driver.session(), RANK)]
    kill_map_worker(driver.session())
    driver.wait_for("the event", lambda: bool(run.events("preprocessing-death")))
    assert [process.pid for process in actors(driver.session(), RANK)] == ranks
    printed = driver.finish()

    (death,) = run.events("preprocessing-death")
    assert (death["class"], death["attempt"], death["deaths"]) == ("preprocessing", 1, 1)
    assert "Stage" in str(death["pool"])
    assert len(run.attempts()) == 1
    assert not run.events("attempt-failed")
    assert read_account(run.dir).total == {"preprocessing": 1}
    assert "a preprocessing worker died on " in printed
    assert "1 preprocessing: replaced without a restart" in printed
    assert_exact_run(run.dir)
    assert not audit_run(run.dir).problems
