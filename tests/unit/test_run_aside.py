"""Starting over keeps the run of before, and never one that is being trained."""

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import CheckpointError, JobFailedError
from orchestrator.run.aside import set_aside
from orchestrator.run.describe import describe_run
from orchestrator.run.directory import RunDirectory, open_run
from orchestrator.run.listing import list_runs
from tests.support.training import make_plan

HOLD = """
import sys, time
from pathlib import Path
from orchestrator.run.lease import hold_lease
with hold_lease(Path(sys.argv[1]), say=print):
    print("held", flush=True)
    time.sleep(60)
"""


def begin(folder: Path) -> RunDirectory:
    plan = make_plan(folder)
    directory = open_run(plan)
    describe_run(plan, directory)
    return directory


def test_each_run_that_is_set_aside_gets_the_next_free_number(tmp_path: Path) -> None:
    said: list[str] = []
    for number in (1, 2, 3):
        run_dir = begin(tmp_path).path
        (run_dir / "note.txt").write_text(f"{number}")
        aside = set_aside(run_dir, say=said.append)
        assert aside == run_dir.with_name(f"job.old-{number:03d}")
        assert (aside / "note.txt").read_text() == f"{number}"
        assert str(aside) in said[-1]
        assert not run_dir.exists()
        assert not (aside / "lease.json").exists()
    begin(tmp_path)
    names = [row.name for row in list_runs(tmp_path / "runs")]
    assert sorted(names) == ["job", "job.old-001", "job.old-002", "job.old-003"]


def test_where_nothing_was_trained_nothing_is_set_aside(tmp_path: Path) -> None:
    said: list[str] = []
    assert set_aside(tmp_path / "runs" / "job", say=said.append) is None
    directory = open_run(make_plan(tmp_path))
    assert set_aside(directory.path, say=said.append) is None
    assert directory.path.exists()
    assert said == []


def test_a_run_that_is_being_trained_stays_where_it_is(tmp_path: Path) -> None:
    run_dir = begin(tmp_path).path
    command = [sys.executable, "-c", HOLD, str(run_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "held\n"
        with pytest.raises(JobFailedError, match=f"already, by process {driver.pid}"):
            set_aside(run_dir, say=print)
        driver.kill()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["job"]


def test_a_run_that_cannot_be_renamed_is_a_checkpoint_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = begin(tmp_path).path

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(CheckpointError, match=r"cannot rename .*job: permission denied"):
        set_aside(run_dir, say=print)
    assert not (run_dir / "lease.json").exists()
