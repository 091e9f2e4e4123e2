"""Planted secrets are nowhere in the directory of a real run, nor in what it prints."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

import orchestrator.export
from tests.support.data import write_rows
from tests.support.runs import Run, write_job
from tests.support.task import SmallTask

TOKEN, PLACE, PASSWORD = "QXZtoken4711", "QXZplace4711", "QXZpass4711"
LEAKY = """\
import os
import sys

def leak(batch, **given):
    print("leaking", given, os.environ["MY_API_TOKEN"], flush=True)
    if given.get("fail"):
        raise ValueError(f"cannot use {given} with {os.environ['MY_API_TOKEN']}")
    return batch
"""


# Two runs of the whole command.
@pytest.mark.slow
def test_planted_secrets_are_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_TOKEN", TOKEN)
    monkeypatch.setenv("DATA_PLACE", PLACE)
    write_rows(tmp_path / PLACE / "train", 96, row_group=24)
    code = tmp_path / "code"
    code.mkdir()
    (code / "leaky.py").write_text(LEAKY)
    (code / "my_task.py").write_text("from tests.support.task import SmallTask\n")
    given = {"token": "${env:MY_API_TOKEN}", "uri": f"s3://anna:{PASSWORD}@bucket/x?token={TOKEN}"}
    job = write_job(
        tmp_path / "job.yaml",
        runtime={"working_dir": str(code)},
        dataset={"train": {"paths": str(tmp_path / "${env:DATA_PLACE}" / "train")}},
        transforms=[{"use": "leaky:leak", "with": given}],
        training={"task": "my_task:SmallTask", "epochs": 1},
    )
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    run = Run(job, "kept")
    printed = run.complete()
    failing = Run(job, "failing")
    told = failing.start("transforms.0.with.fail=true").finish(code=5)
    assert "cannot use" in told
    for text in (printed, told):
        assert not any(secret in text for secret in (TOKEN, PLACE, PASSWORD))
    files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} >= {"ledger", "attempts", "logs", "model"}
    leaks = [path for path in files for secret in (TOKEN, PLACE, PASSWORD) if holds(path, secret)]
    assert not leaks
    # The leak was there to be found.
    assert any("leaking" in path.read_text() for path in (run.dir / "logs").iterdir())

    found = orchestrator.export.load(run.dir / "model")
    assert found.preprocess({"x": np.zeros((2, 8), np.float32)})["x"].shape == (2, 8)
    newest = max((run.dir / "checkpoints").glob("step-*"))
    stored = torch.load(newest / "state.pt", weights_only=True)["parts"]["model"]
    own = SmallTask().build_model().eval()
    own.load_state_dict(stored)
    rows = torch.randn(7, 8)
    with torch.no_grad():
        assert torch.equal(found.model()(rows), own(rows))


def holds(path: Path, secret: str) -> bool:
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    return secret.encode() in content
