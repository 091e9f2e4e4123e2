"""The driver of a submitted job is killed: its supervisor starts another, and no row is lost."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.data import write_rows
from tests.support.jobs import Submitted
from tests.support.local_clusters import Home, clusters_home
from tests.support.runs import ROOT, Run, write_job

STEPS = 28


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with clusters_home() as home:
        up = home.orchestrator("cluster", "up", "--cpu-nodes", "2", "--gpu-nodes", "0")
        assert up.returncode == 0, up.stderr
        yield home


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_a_job_whose_driver_is_killed_twice_goes_on_and_is_exact(
    home: Home, tmp_path: Path
) -> None:
    write_rows(tmp_path / "train", 331)
    job = write_job(
        tmp_path / "job.yaml",
        runtime={"working_dir": str(ROOT), "data_dir": str(tmp_path)},
        dataset={"train": {"paths": "train"}},
        training={"task": "tests.support.task:SmallTask", "with": {"step_s": 0.2}},
        scaling={"workers": 2, "preprocessing": {"workers": 1}},
        checkpoint={"storage": "runs", "every": "5 steps"},
    )
    undisturbed, one = Run(job, "undisturbed"), Submitted(home, job, "killed")
    undisturbed.complete("training.with.step_s=0")
    one.submit()
    for attempt, step in ((1, 7), (2, 17)):
        one.wait(
            f"step {step} of attempt {attempt}",
            lambda at=(attempt, step): any(  # type: ignore[misc]  # bound, for the loop's sake
                record["attempt"] == at[0] and int(str(record["step"])) >= at[1]
                for record in one.run.metrics()
            ),
        )
        psutil.Process(int(str(one.run.attempts()[-1]["pid"]))).kill()
    assert one.wait_for_end() == "finished"
    printed = one.command("logs")
    assert printed.count("the driver died: by signal 9 (SIGKILL); it is started again") == 2
    assert [attempt["parent"] for attempt in one.run.attempts()] == [None, 1, 2]
    assert one.run.step() == STEPS
    assert one.run.losses() == undisturbed.losses()
    assert one.run.state_digest() == undisturbed.state_digest()
    audit = home.orchestrator("audit", str(one.run.dir))
    assert audit.returncode == 0, audit.stdout
