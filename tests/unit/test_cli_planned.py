"""Where in the file a refusal comes from."""

from pathlib import Path

import pytest

from orchestrator.cli.planned import with_places
from orchestrator.spec.load import LoadedJob, read_job

JOB = """\
name: job
dataset:
  train: {paths: data}
transforms:
  - mine:scale
training:
  task: mine:Task
  epochs: 1
  global_batch_size: 4
"""


@pytest.fixture
def job(tmp_path: Path) -> LoadedJob:
    file = tmp_path / "job.yaml"
    file.write_text(JOB)
    return read_job(file, overrides=["scaling.workers=9"], environ={})


@pytest.mark.parametrize(
    ("message", "placed"),
    [
        ("dataset.train: no rows", "FILE:3:10: dataset.train: no rows"),
        ("dataset.train.paths: none", "FILE:3:18: dataset.train.paths: none"),
        ("transforms.0: it raised", "FILE:5:5: transforms.0: it raised"),
        (
            "2 problems in the plan:\n  scaling.workers is 9\n  training.task: bad\n  at x.py:3",
            "2 problems in the plan:\n  --set scaling.workers=9: scaling.workers is 9\n"
            "  FILE:7:9: training.task: bad\n  at x.py:3",
        ),
        # One that is not written in the file: the section that it would stand in.
        ("training.device is cuda", "FILE:6:1: training.device is cuda"),
        ("the dataset.train: no setting first", "the dataset.train: no setting first"),
        ("datasets: another word", "datasets: another word"),
    ],
)
def test_a_line_that_begins_with_a_setting_gets_its_place(
    job: LoadedJob, message: str, placed: str
) -> None:
    source = job.where(["name"]).source
    assert with_places(message, job).replace(source, "FILE") == placed
