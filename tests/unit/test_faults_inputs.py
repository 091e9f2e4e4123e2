"""Hostile names, files and addresses are refused; nothing is run, fetched or written."""

import json
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.cli.main import main
from orchestrator.data.parquet_index import index_parquet
from orchestrator.errors import CheckpointError, DataError
from orchestrator.run.directory import RunDirectory
from orchestrator.spec.job import JobSpec
from orchestrator.spec.load import dump_job
from tests.unit.test_run_export import manifest_of

ROOT = Path(__file__).parents[2]
NAUGHTY = ROOT.parent / "shared" / "corpora" / "naughty-strings" / "blns.json"
MOST_MEMORY = 300 * 1024 * 1024

# Ours, so that there are some where there is no corpus.
NAMES = [
    "../x", "..", ".", "/etc", "/etc/passwd", "~", "a/../../x", "a\\..\\x", "a\0b", "x" * 300,
    "\u2024\u2024/x", "\uff0e\uff0e", "a\nb", "-rf", "$(touch canary)", "`touch canary`", "%2e%2e",
]  # fmt: skip


def names() -> list[str]:
    # No corpus is no reason to skip those above.
    return NAMES + (json.loads(NAUGHTY.read_text("utf-8")) if NAUGHTY.is_file() else [])


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def job_of(folder: Path, **sections: object) -> JobSpec:
    return JobSpec.model_validate(
        {
            "name": "job",
            "dataset": {"train": {"paths": "data"}},
            "training": {
                "task": "tests.support.training:ConvTask",
                "epochs": 1,
                "global_batch_size": 8,
            },
            "runtime": {"working_dir": str(folder)},
            **sections,
        }
    )


@pytest.mark.parametrize("verb", ["show", "export", "audit"])
def test_a_hostile_name_of_a_run_is_no_run_and_leaves_nothing(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    for name in names():
        # After "--", as an option is none of its business.
        assert main([verb, "--", name]) == 2, name
        assert "Traceback" not in capsys.readouterr().err
    assert files_of(tmp_path) == ["inside"]


def test_a_hostile_name_of_a_checkpoint_opens_nothing(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    directory = store.stage(1, 1)
    (directory / "model.bin").write_bytes(b"weights")
    manifest = store.commit(directory, manifest_of("", 1), fence=lambda: None)
    (tmp_path / "elsewhere").mkdir()
    directory.rename(tmp_path / "elsewhere" / directory.name)
    before = files_of(tmp_path)
    for name in [*names(), f"../elsewhere/{directory.name}", f"./{directory.name}"]:
        with pytest.raises(CheckpointError, match="no checkpoint"):
            store.read_verified(name, manifest.digest)
    assert files_of(tmp_path) == before


def test_a_hostile_path_of_data_is_refused_by_name(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    for name in filter(None, names()):
        with pytest.raises(DataError, match=r"^dataset\.train: "):
            index_parquet([name], root=inside, where="dataset.train", columns=None)
    assert files_of(tmp_path) == ["inside"]


def test_a_run_that_is_a_link_is_the_run_it_leads_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A link is the user's own doing: nothing but that run is touched, by whichever name."""
    place = tmp_path / "elsewhere" / "job"
    place.mkdir(parents=True)
    (place / "job.yaml").write_text(dump_job(job_of(tmp_path)))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "job").symlink_to(place)
    before = files_of(tmp_path)
    assert main(["export", "job", "--storage", str(tmp_path / "runs")]) == 4
    assert "has no checkpoint yet" in capsys.readouterr().err
    assert files_of(tmp_path) == before


@dataclass
class Bomb:
    """Makes a folder when it is unpickled."""

    canary: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.canary),)


def test_a_pickle_in_a_checkpoint_that_verifies_is_refused_and_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever can write files can write a manifest too: its hashes are no licence to run code."""
    canary = tmp_path / "canary"
    run = RunDirectory(path=tmp_path / "runs" / "job")
    run.path.mkdir(parents=True)
    run.job.write_text(dump_job(job_of(tmp_path)))
    directory = run.checkpoints.stage(1, 1)
    torch.save({"parts": {"model": Bomb(canary)}}, directory / "state.pt")
    run.checkpoints.commit(directory, manifest_of(directory.name, 1), fence=lambda: None)
    assert main(["export", str(run.path), "--out", str(tmp_path / "out")]) == 4
    printed = capsys.readouterr().err
    assert "holds no state of a run" in printed
    assert "Traceback" not in printed
    assert not canary.exists()
    assert not (tmp_path / "out").exists()
    # The bomb is a real one.
    torch.load(directory / "state.pt", weights_only=False)
    assert canary.exists()


@pytest.mark.parametrize("name", ["rows.pkl", "rows.npy", "rows.parquet"])
def test_a_pickle_in_the_place_of_data_is_refused_and_not_run(name: str, tmp_path: Path) -> None:
    canary, file = tmp_path / "canary", tmp_path / name
    if name == "rows.npy":
        array = np.empty(1, dtype=object)
        array[0] = Bomb(canary)
        np.save(file, array, allow_pickle=True)
    else:
        file.write_bytes(pickle.dumps(Bomb(canary)))
    with pytest.raises(DataError, match=rf"{name}: not a readable Parquet file"):
        index_parquet([name], root=tmp_path, where="dataset.train", columns=None)
    assert not canary.exists()
    if name == "rows.npy":
        np.load(file, allow_pickle=True)
    else:
        pickle.loads(file.read_bytes())
    assert canary.exists()


PLANNED = """\
import contextlib, io, json, sys
reached = []
watched = {"socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system"}
sys.addaudithook(lambda event, _: reached.append(event) if event in watched else None)
from orchestrator.cli.main import main
for change in sys.argv[1:]:
    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = main(["plan", "job.yaml", "--set", change])
    print(json.dumps([change, code, said.getvalue(), reached, "mine" in sys.modules]))
"""
JOB = """\
name: job
runtime: {working_dir: ., cpus: 8}
dataset: {train: {paths: data}}
training: {task: "mine:Task", epochs: 1, global_batch_size: 8}
"""


FOREIGN = [
    "training.task=os:system",
    "training.task=builtins:eval",
    "training.task=mine:__class__",
    "training.task=../mine:Task",
    "transforms.0=subprocess:run",
    "training.loop=shutil:rmtree",
    "runtime.pip=[evil]",
    "runtime.runtime_env={pip: [evil]}",
    "runtime.py_modules=[http://169.254.169.254/x.zip]",
    "dataset.train.paths=http://169.254.169.254/latest/meta-data",
    "checkpoint.storage=http://169.254.169.254/",
    "checkpoint.mirror=http://169.254.169.254/",
    "runtime.address=http://169.254.169.254/",
    "runtime.working_dir=http://169.254.169.254/x.zip",
]


def test_what_would_run_or_fetch_foreign_code_is_refused_before_it_does(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "mine.py").write_text("import os\nos.mkdir('canary')\n")
    # In a process of its own: what watches it cannot be taken away again.
    done = subprocess.run(
        [sys.executable, "-B", "-c", PLANNED, *FOREIGN],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    tried = [json.loads(line) for line in done.stdout.splitlines()]
    assert [change for change, *_ in tried] == FOREIGN
    for change, code, said, reached, imported in tried:
        assert code in (2, 3, 4, 5), change
        assert said.startswith("error: "), said
        assert "Traceback" not in said
        assert not reached, change
        assert not imported, change
    assert files_of(tmp_path) == ["job.yaml", "mine.py"]


VALIDATED = """\
import re, sys
from pathlib import Path
from orchestrator.cli.main import main
code = main(["validate", sys.argv[1]])
# Not that of getrusage, which goes on from what the parent had.
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024)
sys.exit(code)
"""


def bombs() -> dict[str, bytes]:
    aliases = [b"a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for number in range(1, 9):
        uses = b", ".join([b"*a%d" % (number - 1)] * 9)
        aliases.append(b"a%d: &a%d [%s]" % (number, number, uses))
    return {
        "a scalar of 100 MB": b"name: " + b"x" * 100_000_000,
        "a bomb of aliases": b"\n".join(aliases),
        "20000 levels": b"[" * 20_000,
        "90000 keys": b"".join(b"k%d: 1\n" % number for number in range(90_000)),
        "a tag": b"name: !!python/object/apply:os.mkdir [canary]",
    }


@pytest.mark.parametrize("name", bombs())
def test_a_bomb_in_the_place_of_a_spec_takes_little_memory(name: str, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_bytes(bombs()[name])
    done = subprocess.run(
        [sys.executable, "-c", VALIDATED, str(file)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: "), done.stderr
    assert "Traceback" not in done.stderr
    assert int(done.stdout) < MOST_MEMORY
    assert files_of(tmp_path) == ["job.yaml"]
