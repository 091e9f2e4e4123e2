"""A run's directory: written whole, described well, its logs in order."""

import json
import subprocess
from pathlib import Path

import pytest

from orchestrator.errors import CheckpointError
from orchestrator.run.describe import describe_run
from orchestrator.run.directory import RunDirectory, open_run, replace_file
from orchestrator.spec.load import load_job
from tests.support.training import make_plan


def test_a_run_keeps_its_job_and_where_it_ran(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    directory = open_run(plan)
    assert directory.path == tmp_path / "runs" / "job"
    # Nothing is written down before the job is accepted.
    assert [path.name for path in directory.path.iterdir()] == ["logs"]
    assert not directory.is_run
    describe_run(plan, directory)
    assert (directory.path / "job.yaml").stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in directory.path.iterdir()) == [
        "data.json",
        "environment.json",
        "job.yaml",
        "ledger",
        "logs",
        "plan.json",
    ]
    assert directory.is_run
    assert load_job(directory.path / "job.yaml", environ={}) == plan.spec
    planned = json.loads(directory.plan.read_text())
    assert (planned["total_steps"], planned["steps_per_epoch"]) == (8, 4)
    environment = json.loads((directory.path / "environment.json").read_text())
    assert environment["order_fingerprint"] == plan.fingerprint.digest
    assert environment["cluster"] == {"cpus": 64, "gpus": 0, "cores": 64}
    assert environment["git"] is None
    assert set(environment["versions"]) == {
        "orchestrator",
        "python",
        "ray",
        "torch",
        "numpy",
        "pyarrow",
    }


def test_opening_a_run_again_leaves_what_is_in_it(tmp_path: Path) -> None:
    directory = open_run(make_plan(tmp_path))
    directory.metrics.write_text("{}\n")
    assert open_run(make_plan(tmp_path)) == directory
    assert directory.metrics.read_text() == "{}\n"


def test_a_run_remembers_the_revision_of_the_users_code(tmp_path: Path) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    plan = make_plan(tmp_path)
    directory = open_run(plan)
    describe_run(plan, directory)
    revision = json.loads((directory.path / "environment.json").read_text())["git"]
    assert len(revision.removesuffix("-dirty")) == 40


def test_a_storage_that_cannot_be_written_is_a_checkpoint_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file in the way")
    with pytest.raises(CheckpointError, match=r"cannot make .*runs/job"):
        open_run(make_plan(tmp_path))


def test_each_driver_gets_a_log_of_its_own(tmp_path: Path) -> None:
    directory = RunDirectory(path=tmp_path)
    directory.logs.mkdir()
    assert directory.newest_log() is None
    for name in ("driver-001.log", "driver-002.log"):
        assert directory.next_log() == directory.logs / name
        directory.next_log().touch()
    # Also where somebody has tidied up, and where three digits do not do.
    (directory.logs / "driver-001.log").unlink()
    assert directory.next_log().name == "driver-003.log"
    for number in (999, 1000):
        (directory.logs / f"driver-{number}.log").write_text("printed")
    (directory.logs / "driver-1001.log").touch()
    assert directory.newest_log() == directory.logs / "driver-1000.log"
    assert directory.next_log().name == "driver-1002.log"


def test_replacing_a_file_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    for text in ("old", "new"):
        replace_file(path, text)
        assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_replaced_is_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").mkdir()
    with pytest.raises(CheckpointError, match="cannot write"):
        replace_file(tmp_path / "job.yaml", "new")
    assert (tmp_path / "job.yaml").is_dir()
