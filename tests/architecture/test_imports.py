"""What the cheap commands must never import."""

import subprocess
import sys
from pathlib import Path

import pytest

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
     ["schema", "--markdown"], ["runs", "--help"], ["runs"], ["runs", "--json"], ["show", "old"],
     ["show", "old", "--json"]],
    ids=" ".join,
)  # fmt: skip
def test_cheap_commands_load_nothing_heavy_and_no_user_code(
    tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "job.yaml").write_text(JOB, encoding="utf-8")
    (tmp_path / "mine.py").write_text(CODE, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "orchestrator" in loaded
    assert not loaded & {*HEAVY, "mine"}
