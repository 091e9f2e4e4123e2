"""An exported model is read without Ray, is whole, and predicts as the run's own model does."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import orchestrator.export
from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.cli.main import main
from orchestrator.data.fitted import FittedState, dump_states
from orchestrator.errors import CheckpointError
from orchestrator.run.directory import RunDirectory
from orchestrator.run.export_choice import choose, export_to
from orchestrator.spec.job import JobSpec
from orchestrator.spec.load import dump_job
from tests.support.task import FEATURES, SmallTask
from tests.support.training import make_state, strategy_of
from tests.unit.test_run_export import manifest_of

ROOT = Path(__file__).parents[2]
CODE = """\
class Shift:
    def measure(self, batch): return batch["x"].mean()
    def fit(self, measures): return {"mean": 2.0}
    def load(self, state): self.mean = state["mean"]
    def __call__(self, batch): return {**batch, "x": batch["x"] - self.mean}
"""
WITHOUT_RAY = """\
import sys
class NoRay:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "ray":
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, NoRay())
import numpy as np
import orchestrator.export
found = orchestrator.export.load(sys.argv[1])
rows = {"x": np.load(sys.argv[2])}
assert found.weights["0.weight"].shape == (64, 8)
ready = found.preprocess(rows)
assert "torch" not in sys.modules and found.spec.name == "job"
import torch
with torch.no_grad():
    scores = found.model()(torch.from_numpy(ready["x"]))
np.save(sys.argv[3], scores.numpy())
try:
    import ray
except ImportError:
    print("no ray")
"""


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run with checkpoints of the steps 10, 20 and 30, each with weights of its own."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "my_task.py").write_text("from tests.support.task import SmallTask\n")
    (code / "mine.py").write_text(CODE)
    spec = JobSpec.model_validate(
        {
            "name": "job",
            "dataset": {"train": {"paths": "data"}},
            "transforms": ["mine:Shift"],
            "training": {
                "task": "my_task:SmallTask",
                "epochs": 1,
                "global_batch_size": 8,
            },
            "runtime": {"working_dir": str(code)},
        }
    )
    directory = RunDirectory(path=tmp_path / "runs" / "job")
    directory.path.mkdir(parents=True)
    directory.job.write_text(dump_job(spec))
    for step in (10, 20, 30):
        save(directory.checkpoints, step)
    return directory


def save(store: CheckpointStore, step: int) -> None:
    folder = store.stage(step, 1)
    state = make_state(SmallTask())
    with torch.no_grad():
        next(iter(strategy_of(state).model.parameters())).add_(float(step))
    state.write(folder)
    fitted = FittedState(use="mine:Shift", position=1, text='{"mean": 2.0}')
    (folder / "preprocessing.json").write_text(dump_states([fitted]))
    store.commit(folder, manifest_of(folder.name, step), fence=lambda: None)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_predictions_are_those_of_the_runs_model_in_a_process_without_ray(
    run: RunDirectory, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    export_to(choose(run, None).checkpoint, target, job=run.job)
    rows = np.random.default_rng(0).normal(size=(5, FEATURES)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_RAY, *map(str, (target, tmp_path / "rows.npy",
         tmp_path / "scores.npy"))],
        env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "no ray\n"), done.stderr
    state = make_state(SmallTask())
    state.read(choose(run, None).checkpoint.path)
    with torch.no_grad():
        wanted = strategy_of(state).model.eval()(torch.from_numpy(rows - np.float32(2.0)))
    assert np.array_equal(np.load(tmp_path / "scores.npy"), wanted.numpy())


def test_the_newest_whole_checkpoint_is_exported_and_nothing_is_set_aside(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = run.path / "checkpoints" / "step-000000030-001"
    flip(newest / "state.pt")
    assert main(["export", str(run.path), "--out", str(tmp_path / "out")]) == 0
    assert "passed over, as it is damaged: step-000000030-001" in capsys.readouterr().err
    found = orchestrator.export.load(tmp_path / "out")
    assert (found.manifest.step, found.manifest.run) == (20, "job")
    assert newest.exists()
    assert main(["export", str(run.path), "--step", "30", "--out", str(tmp_path / "x")]) == 4
    assert "the checkpoint of step 30 of job cannot be trusted" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_step_without_a_checkpoint_names_the_nearest(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run.path), "--step", "14", "--out", str(tmp_path / "x")]) == 4
    assert "the nearest are of 10, 20, 30" in capsys.readouterr().err
    assert main(["export", str(run.path), "--step", "0"]) == 4
    assert "steps are counted from 1" in capsys.readouterr().err


def test_nothing_is_overwritten_and_nothing_half_is_left(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    assert main(["export", str(run.path), "--out", str(tmp_path / "out")]) == 4
    assert "exists already, and is not overwritten" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_damaged_export_is_not_loaded(run: RunDirectory, tmp_path: Path) -> None:
    target = tmp_path / "out"
    export_to(choose(run, 10).checkpoint, target, job=run.job)
    flip(target / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model.safetensors has SHA-256"):
        orchestrator.export.load(target)
    with pytest.raises(CheckpointError, match="is no exported model"):
        orchestrator.export.load(tmp_path)


def test_an_export_of_a_newer_format_is_refused(run: RunDirectory, tmp_path: Path) -> None:
    target = tmp_path / "out"
    export_to(choose(run, 10).checkpoint, target, job=run.job)
    content = json.loads((target / "export.json").read_text())
    (target / "export.json").write_text(json.dumps({**content, "format_version": 2}))
    with pytest.raises(CheckpointError, match="format_version: got 2, wanted 1"):
        orchestrator.export.load(target)


def test_a_checkpoint_of_a_newer_format_is_refused_and_not_set_aside(run: RunDirectory) -> None:
    newest = run.path / "checkpoints" / "step-000000030-001"
    manifest = choose(run, 30).checkpoint.manifest
    (newest / "MANIFEST.json").write_bytes(replace(manifest, format_version=2).to_bytes())
    for look in (run.checkpoints.newest_valid, lambda: choose(run, None)):
        with pytest.raises(CheckpointError, match="format_version: got 2, wanted 1") as caught:
            look()
        assert "another version of this program" in str(caught.value.hint)
    assert newest.exists()
