"""A run whose directory is gone goes on from its mirror, by the same command."""

import shutil
import signal
from pathlib import Path

from tests.support.data import write_rows
from tests.support.ledgers import assert_exact_run
from tests.support.runs import Run, write_job


def test_a_lost_run_directory_is_restored_from_the_mirror(tmp_path: Path) -> None:
    write_rows(tmp_path / "train", 240)
    job = write_job(
        tmp_path / "job.yaml",
        dataset={"train": {"paths": str(tmp_path / "train")}},
        training={"with": {"step_s": 0.1}},
        checkpoint={"every": "5 steps", "mirror": str(tmp_path / "mirror")},
    )
    whole = Run(job, "whole")
    whole.complete("checkpoint.mirror=null")
    lost = Run(job, "lost")
    driver = lost.start()
    driver.wait_for("a copy", lambda: bool(lost.events("mirrored")))
    driver.signal_group(signal.SIGINT)
    driver.finish(code=130)
    shutil.rmtree(lost.dir)

    printed = lost.complete()

    assert "restored step-" in printed
    (restored,) = lost.events("restored")
    assert lost.attempts()[1]["checkpoint"] == restored["name"]
    assert lost.state_digest() == whole.state_digest()
    assert_exact_run(lost.dir)
