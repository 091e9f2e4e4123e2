"""What the cheap commands must never import."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ledgers import FakeRun
from tests.support.plans import make_plan

REPOSITORY = Path(__file__).parents[2]
HEAVY = {"ray", "torch", "pyarrow", "numpy", "pandas", "rich"}
SCRIPT = """\
import sys
from orchestrator.cli.main import main
code = main(sys.argv[1:])
print("loaded:", *sorted(name for name in sys.modules if "." not in name))
sys.exit(code)
"""
JOB = """\
name: job
dataset: {train: {paths: data}}
transforms: [mine:scale]
training: {task: mine:Task, epochs: 1, global_batch_size: 8}
"""
CODE = """\
import ray, torch
raise RuntimeError("imported")
def scale(batch): ...
class Task: ...
"""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["validate", "job.yaml"], ["validate", "--help"], ["schema"],
     ["schema", "--markdown"], ["bench", "--help"]],
    ids=" ".join,
)  # fmt: skip
def test_cheap_commands_load_nothing_heavy_and_no_user_code(
    tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "job.yaml").write_text(JOB, encoding="utf-8")
    (tmp_path / "mine.py").write_text(CODE, encoding="utf-8")
    loaded = loaded_by(arguments, tmp_path)
    assert "orchestrator" in loaded
    assert not loaded & {*HEAVY, "mine"}


@pytest.mark.parametrize(
    "arguments", [["runs"], ["runs", "--json"], ["show", "job"], ["show", "job", "--json"]],
    ids=" ".join,
)  # fmt: skip
def test_runs_are_looked_at_without_what_trained_them(tmp_path: Path, arguments: list[str]) -> None:
    run = tmp_path / "runs" / "job"
    run.mkdir(parents=True)
    (run / "job.yaml").write_text(JOB)
    (run / "plan.json").write_text('{"total_steps": 8, "steps_per_epoch": 4}')
    loaded = loaded_by(arguments, tmp_path)
    assert "orchestrator" in loaded
    assert not loaded & (HEAVY - {"rich"})


@pytest.mark.parametrize(
    ("arguments", "also"),
    [
        (["audit", "job"], ()),
        (["ledger", "job"], ()),
        (["ledger", "job", "--step", "3"], ()),
        (["ledger", "job", "--export", "out.parquet"], ("pandas", "pyarrow")),
        (["diff", "job", "job"], ()),
    ],
    ids=str,
)
def test_a_ledger_is_read_without_what_trained_it(
    tmp_path: Path, arguments: list[str], also: tuple[str, ...]
) -> None:
    FakeRun(make_plan(), tmp_path / "runs" / "job").train(2, 5)
    loaded = loaded_by(arguments, tmp_path)
    assert "orchestrator" in loaded
    assert not loaded & (HEAVY - {"numpy", *also})


def test_the_supervisor_of_a_driver_is_without_ray_and_torch(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB, encoding="utf-8")
    (tmp_path / "mine.py").write_text(CODE, encoding="utf-8")
    # There are no data: the driver, another process, says so, and that is the end.
    arguments = ["run", "--set=failure.restart_driver=1", "--name=x", "job.yaml"]
    loaded = loaded_by(arguments, tmp_path, code=2)
    assert "orchestrator" in loaded
    assert not loaded & {*HEAVY, "mine"}


def loaded_by(arguments: list[str], folder: Path, *, code: int = 0) -> set[str]:
    """The modules that a command has loaded, run in a folder and in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return set(done.stdout.splitlines()[-1].split())
