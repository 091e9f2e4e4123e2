"""`orchestrator validate`, and the arguments of verbs that take a spec."""

import argparse
from pathlib import Path

import pytest

from orchestrator.cli.main import main
from orchestrator.cli.spec_arguments import add_spec_arguments, load_spec

JOB = """\
name: digits
dataset:
  train: {paths: data}
transforms:
  - mine:scale
  - {use: mine:shift, with: {pixels: 2}}
training:
  task: mine:Task
  epochs: 1
  global_batch_size: 1024
scaling: {workers: 2}
"""
CODE = """\
raise RuntimeError("imported")
def scale(batch): ...
def shift(batch, pixels): ...
class Task: ...
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").write_text(JOB, encoding="utf-8")
    Path("mine.py").write_text(CODE, encoding="utf-8")
    return tmp_path


def test_a_valid_spec_is_summed_up_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "job.yaml"]) == 0
    assert capsys.readouterr().out == (
        'job.yaml: valid (name "digits", 2 transforms, 1 epoch, global batch 1,024, 2 workers)\n'
    )
    assert main(["validate", "job.yaml", "--set", "training.epochs=null", "--set",
                 "training.steps=5", "--set", "transforms=[]", "--name", "7"]) == 0  # fmt: skip
    assert '(name "7", 0 transforms, 5 steps, ' in capsys.readouterr().out


def test_mistakes_in_the_spec_exit_with_2_and_their_places(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["validate", "job.yaml", "--set", "seed=x", "--name", "../x"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "error: 2 problems in the spec:"
    assert lines[1].startswith('  --name ../x: name: got "../x", wanted a name')
    assert lines[2].startswith('  --set seed=x: seed: got "x", wanted a whole number')


def test_mistakes_in_the_code_exit_with_2_and_their_places(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = JOB.replace("mine:scale", "mine:sclae").replace("pixels", "pixel")
    Path("job.yaml").write_text(text, encoding="utf-8")
    assert main(["validate", "job.yaml"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[1].startswith("  job.yaml:5:5: transforms.0.use: mine:sclae: ")
    assert lines[2].startswith("  job.yaml:6:37: transforms.1.with.pixel: mine:shift (")
    assert lines[3].startswith('  job.yaml:6:29: transforms.1.with: missing "pixels"')


def test_a_missing_file_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "jbo.yaml"]) == 2
    assert capsys.readouterr().err == ('error: jbo.yaml: no such file; did you mean "job.yaml"?\n')


def test_storage_is_relative_to_the_current_folder(folder: Path) -> None:
    Path("jobs").mkdir()
    Path("job.yaml").rename("jobs/job.yaml")
    Path("mine.py").rename("jobs/mine.py")
    parser = argparse.ArgumentParser()
    add_spec_arguments(parser)
    spec = load_spec(parser.parse_args(["jobs/job.yaml", "--storage", "here", "--name", "n"]))
    assert spec.checkpoint.storage == str(folder / "here")
    assert spec.runtime.working_dir == str(folder / "jobs")
    assert spec.name == "n"
    assert load_spec(parser.parse_args(["jobs/job.yaml"])).checkpoint.storage == "runs"


def test_variables_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_TEST_NAME", "from-environment")
    parser = argparse.ArgumentParser()
    add_spec_arguments(parser)
    arguments = ["job.yaml", "--set", "name=${env:ORCHESTRATOR_TEST_NAME}"]
    assert load_spec(parser.parse_args(arguments)).name == "from-environment"
