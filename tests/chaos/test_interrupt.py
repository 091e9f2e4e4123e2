"""Ctrl-C ends a run in an orderly way, and the same command goes on."""

import signal
from pathlib import Path

from tests.support.data import write_rows
from tests.support.runs import Run, wait_until_gone, write_job


def test_an_interrupted_run_leaves_nothing_running_and_can_be_resumed(tmp_path: Path) -> None:
    job = write_job(
        tmp_path / "job.yaml",
        dataset={"train": {"paths": str(write_rows(tmp_path / "train", 240))}},
        training={"with": {"step_s": 0.05}, "epochs": 4},
        scaling={"workers": 2},
    )
    run = Run(job, "interrupted")
    driver = run.start()
    driver.wait_for("a checkpoint", lambda: len(run.events("checkpoint")) >= 1)
    session = driver.session()
    driver.process.send_signal(signal.SIGINT)
    printed = driver.finish(code=130)
    assert printed.endswith("interrupted\n")
    assert "Traceback" not in printed
    wait_until_gone(session, limit_s=0.0)
    assert f"from {run.events('checkpoint')[-1]['name']}" in run.complete()
    assert run.step() == 40
