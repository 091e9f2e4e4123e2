"""Wrong specs and wrong data through the real command: one message, fit for a person, each time."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.cli.main import main
from tests.support.disks import mount, small_disk

JOB = """\
name: job
runtime: {working_dir: ., cpus: 8}
dataset:
  train:
    paths: data
  shuffle: {type: window, rows: all}
transforms:
  - use: MINE:scale
    with: {by: 2.0}
training:
  task: MINE:Task
  epochs: 2
  global_batch_size: 32
scaling:
  workers: 2
checkpoint:
  storage: runs
  every: 1 epoch
"""
CODE = """\
from orchestrator import TrainTask

class Task(TrainTask):
    def __init__(self, width=3):
        if width < 0:
            raise ValueError("width must not be negative")
    def build_model(self): ...
    def loss(self, model, batch): ...

class Half(TrainTask):
    def build_model(self): ...

class NoTask: ...

def scale(batch, by=1.0): return batch

class Shift:
    def __init__(self, pixels):
        self.turn = {1: "left"}[pixels]
    def __call__(self, batch): return batch

class NoCall: ...
"""


@dataclass(frozen=True)
class Wrong:
    """One wrong input: what is set, how it is tried, and what has to be said."""

    sets: tuple[str, ...]
    says: tuple[str, ...]
    code: int = 2
    verb: str = "plan"


def wrong(*sets: str, says: str | tuple[str, ...], code: int = 2, verb: str = "plan") -> Wrong:
    return Wrong(sets=sets, says=(says,) if isinstance(says, str) else says, code=code, verb=verb)


SPEC = [
    wrong("trainng.epochs=3", verb="validate", says=('unknown key; did you mean "training"?',)),
    wrong(
        "training.epoch=3",
        verb="validate",
        says=(
            'training.epoch: unknown key; did you mean "epochs"?',
            "allowed: task, loop, with, epochs",
        ),
    ),
    wrong(
        "scaling.preprocessing.worker=3",
        verb="validate",
        says='scaling.preprocessing.worker: unknown key; did you mean "workers"?',
    ),
    wrong("training.optimizer.lrr=3", verb="validate", says='did you mean "lr"?'),
    wrong(
        "training.global_batch_size=many",
        verb="validate",
        says=('training.global_batch_size: got "many"', "wanted a whole number greater than 0"),
    ),
    wrong("training=3", verb="validate", says="training: got 3, wanted a mapping with the keys"),
    wrong(
        "training.optimizer=adam",
        verb="validate",
        says=('got the type "adam", wanted adamw or sgd', 'did you mean "adamw"?'),
    ),
    wrong(
        "checkpoint.every=5 parsecs",
        verb="validate",
        says=('got "5 parsecs"', 'wanted an interval such as "100 steps"'),
    ),
    wrong(
        "training.steps=5",
        verb="validate",
        says=("job.yaml:10:1: training:", "epochs: 2, steps: 5", "set the other to null"),
    ),
    wrong("name=../x", verb="validate", says='name: got "../x", wanted a name of 1 to 63 letters'),
    wrong("name=a/b", verb="validate", says='name: got "a/b"'),
    wrong('name="a\\u202Eb"', verb="validate", says="name: got "),
    wrong(f"name={'x' * 64}", verb="validate", says="wanted a name of 1 to 63 letters"),
    wrong(
        "scaling.lanes=5",
        verb="validate",
        says="lanes (5) must divide training.global_batch_size (32); 4 and 8 do",
    ),
    wrong("scaling.lanes=9007199254740991", verb="validate", says="(32); 32 does"),
    wrong(
        "dataset.train.type=csv",
        verb="validate",
        says='dataset.train: got the type "csv", wanted mixture or parquet',
    ),
    wrong("dataset.train.paths=[]", verb="validate", says="got [], wanted at least one item"),
]
USER_CODE = [
    wrong(
        "transforms.0.use=MINEE:scale",
        verb="validate",
        says=("transforms.0.use: MINEE:scale: no module", 'did you mean "MINE"?'),
    ),
    wrong(
        "transforms.0.use=MINE:scael",
        verb="validate",
        says=('MINE.py has no "scael"; did you mean "scale"?',),
    ),
    wrong(
        "training.task=MINE.Task",
        verb="validate",
        says='got "MINE.Task", wanted a reference such as "package.module:attribute"',
    ),
    wrong(
        "transforms.0.with.bye=3",
        verb="validate",
        says=("transforms.0.with.bye: MINE:scale", "MINE.py:15", 'did you mean "by"?'),
    ),
    wrong("training.task=MINE:NoTask", says="not a class derived from orchestrator.TrainTask"),
    wrong("training.task=MINE:Half", says="training.task: MINE:Half does not define loss"),
    wrong(
        "training.task=MINE:scale",
        verb="validate",
        says="is a function, wanted a class of TrainTask",
    ),
    wrong(
        "training.with.width=-1",
        says=(
            "job.yaml:11:9: training.task: MINE:Task cannot be constructed: ValueError: width must",
            "MINE.py:6 in __init__: raise ValueError",
        ),
    ),
    wrong(
        "transforms.0={use: MINE:Shift, with: {pixels: 3}}",
        says=("transforms.0: ", "MINE:Shift", "KeyError: 3", "MINE.py:19 in __init__"),
    ),
    wrong("transforms.0=MINE:Shift", verb="validate", says='missing "pixels", which MINE:Shift'),
    wrong("transforms.0=MINE:NoCall", says=("transforms.0: ", "__call__")),
    wrong(
        "training.task=BROKEN:Task",
        says=("training.task: BROKEN:Task: importing it failed", "BROKEN.py:1", "no_such_thing"),
    ),
    wrong("runtime.working_dir=nowhere", says="in PLACE/nowhere, which is no folder"),
    wrong(f"runtime.working_dir={'x' * 300}", says="x, which is no folder"),
]
DATA = [
    wrong(
        "dataset.train.paths=dat",
        code=5,
        says=("job.yaml:5:5: dataset.train: ", "/dat does not exist; did you mean", '/data"?'),
    ),
    wrong("dataset.train.paths=nothing/*.parquet", code=5, says="matches no file"),
    wrong(f"dataset.train.paths={'x' * 300}", code=5, says="dataset.train: "),
    wrong("dataset.train.paths=empty", code=5, says="/empty holds no *.parquet file"),
    wrong("dataset.train.paths=zero", code=5, says="dataset.train: no rows in 2 files of zero"),
    wrong(
        "dataset.train.paths=drift",
        code=5,
        says=("drift/b.parquet: column 'x' is string, but double in ", "drift/a.parquet", "hint: "),
    ),
    wrong("dataset.train.paths=lacks", code=5, says="lacks/b.parquet has no column 'x', but "),
    wrong(
        "dataset.train.paths=corrupt",
        code=5,
        says="dataset.train: PLACE/corrupt/b.parquet: not a readable Parquet file: ",
    ),
    wrong("dataset.train.paths=corrupt/c.csv", code=5, says="c.csv: not a readable Parquet file"),
    wrong(
        "dataset.train.columns=[id, lable]",
        code=5,
        says=("has no column 'lable'; did you mean 'label'?", "it has id, x, label"),
    ),
    wrong("dataset.train.paths=[data, data/0.parquet]", code=5, says="is named 2 times by data, "),
    wrong(
        "dataset.validation.paths=drift/b.parquet",
        says="dataset.validation: column 'x' is string, but double in dataset.train",
    ),
]
PLAN = [
    wrong(
        "training.global_batch_size=37",
        says=(
            "job.yaml:15:12: scaling.workers is 2, but a global batch of 37 rows is cut into 1",
            "training.global_batch_size: 36 or 38",
            "scaling.lanes: 37",
        ),
    ),
    wrong(
        "scaling.workers=40",
        says=(
            "2 problems in the plan:",
            "scaling.workers: 32 at most",
            "the job needs 42 CPUs (training: 40; ",
            "hint: runtime.cpus: 42 declares as many logical CPUs; scaling.workers: 6 fits",
        ),
    ),
    wrong("scaling.workers=12", says=("needs 14 CPUs", "has 8", "scaling.workers: 6 fits")),
    wrong(
        "scaling.superblock_steps=3",
        "dataset.shuffle.rows=128",
        says="which does not divide the window of 4 steps; these do: 1, 2, 4",
    ),
    wrong("checkpoint.best.metric=loss", says="but there is no dataset.validation"),
    wrong("training.device=cuda", says="scaling.gpus_per_worker is 0: a worker is given no GPU"),
    wrong(
        "training.device=cuda",
        "scaling.gpus_per_worker=1",
        says=("the job needs 2 GPUs (training: 2), the cluster has 0", "gpus_per_worker: 0"),
    ),
    wrong(
        "runtime.address=127.0.0.1:1",
        code=3,
        says=("runtime.address: nothing answers at 127.0.0.1:1: Connection refused", "hint: "),
    ),
    wrong("runtime.address=nowhere", code=3, says='wanted "local", "auto", or a host and a port'),
    *(
        wrong(
            "checkpoint.storage=data/0.parquet",
            code=4,
            verb=verb,
            says=("cannot write to ", "data/0.parquet is a file, wanted a folder", "hint: "),
        )
        for verb in ("plan", "run")
    ),
    wrong(f"checkpoint.storage={'x' * 300}", code=4, says="File name too long"),
]


MIXED = {
    "web": "{paths: data/0.parquet, weight: 1}",
    "code": "{paths: data/1.parquet, weight: 1}",
}


def mixed(rest: str = "", **sources: str) -> str:
    """A setting that mixes two good sources; any of them may be another, or one more."""
    listed = ", ".join(f"{name}: {source}" for name, source in {**MIXED, **sources}.items())
    return f"dataset.train={{type: mixture, sources: {{{listed}}}{rest}}}"


MIXTURES = [
    wrong(
        mixed(", schedule: [{from: 5, weights: {web: 1, cod: 1}}]"),
        verb="validate",
        says=(
            "dataset.train.schedule.0.weights.cod: there is no source of this name; did you mean"
            ' "code"? there are web, code'
        ),
    ),
    wrong(
        mixed(other="{paths: nothing/*.parquet, weight: 1}"),
        code=5,
        says=("dataset.train.sources.other: ", "matches no file"),
    ),
    wrong(
        mixed(other="{paths: drift/a.parquet, weight: 1}"),
        code=5,
        says=(
            "dataset.train.sources.other: there is no column 'label', but"
            " dataset.train.sources.web has it",
            "hint: name the columns that all sources have in dataset.train.columns",
        ),
    ),
    wrong(
        mixed(", columns: [id, x]", other="{paths: drift/b.parquet, weight: 1}"),
        code=5,
        says="dataset.train.sources.other: column 'x' is string, but double in"
        " dataset.train.sources.web",
    ),
    wrong(
        mixed(", columns: [id, z]"),
        code=5,
        says=("dataset.train.sources.web: ", "has no column 'z'"),
    ),
    wrong(
        mixed(code="{paths: data, weight: 1}"),
        code=5,
        says="data/0.parquet is a file of dataset.train.sources.web too",
    ),
    wrong(
        mixed(code="{paths: data/1.parquet, weight: 0.00001}"),
        says="dataset.train.sources.code.weight is 1e-05, less than 1/65536 of all weights",
    ),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good job and good data, and with wrong data beside them."""
    root = tmp_path_factory.mktemp("wrong")
    good = {"id": np.arange(100), "x": np.ones(100), "label": np.arange(100) % 3}
    tables = {
        "data/0": good,
        "data/1": good,
        "zero/a": {"id": pa.array([], pa.int64())},
        "zero/b": {"id": pa.array([], pa.int64())},
        "drift/a": {"id": [1], "x": [1.0]},
        "drift/b": {"id": [1], "x": ["1"]},
        "lacks/a": {"id": [1], "x": [1.0]},
        "lacks/b": {"id": [1]},
        "corrupt/a": {"id": [1]},
    }
    for name, table in tables.items():
        file = root / f"{name}.parquet"
        file.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table(table), file, row_group_size=50)
    (root / "empty").mkdir()
    (root / "corrupt" / "b.parquet").write_bytes(b"PAR1" + b"\xff" * 50)
    (root / "corrupt" / "c.csv").write_text("id,x\n1,2\n")
    # A name of its own: other tests import modules too.
    (root / f"{root.name}_code.py").write_text(CODE)
    (root / f"{root.name}_broken.py").write_text("import no_such_thing\nclass Task: ...\n")
    (root / "job.yaml").write_text(JOB.replace("MINE", f"{root.name}_code"))
    return root


@pytest.fixture(autouse=True)
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The command is called where the job is, and leaves no module and no file behind."""
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = files_of(place)
    yield
    assert files_of(place) == before


def files_of(folder: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def try_it(case: Wrong, place: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code, and what was printed with the names of this place taken out of it."""
    code, broken = f"{place.name}_code", f"{place.name}_broken"
    sets = [text.replace("MINE", code).replace("BROKEN", broken) for text in case.sets]
    options = [part for text in sets for part in ("--set", text)]
    status = main([case.verb, "job.yaml", *options])
    printed = capsys.readouterr()
    assert not status or printed.out == ""
    text = printed.err.replace(code, "MINE").replace(broken, "BROKEN")
    return status, text.replace(str(place), "PLACE")


def check_message(text: str) -> None:
    """One message, with a hint at most, that says nothing of how this program is made."""
    lines = text.splitlines()
    assert lines[0].startswith("error: ")
    assert text.count("error: ") == 1
    assert sum(line.startswith("hint: ") for line in lines) <= 1
    assert all(line.startswith(("error: ", "  ", "hint: ")) for line in lines)
    assert "Traceback" not in text
    assert "orchestrator/" not in text
    assert "Errno" not in text


@pytest.mark.parametrize(
    "case",
    [*SPEC, *USER_CODE, *DATA, *PLAN, *MIXTURES],
    ids=lambda case: f"{case.verb} {case.sets[0][:60]}",
)
def test_a_wrong_input_gets_one_message_and_the_code_of_its_kind(
    case: Wrong, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = try_it(case, place, capsys)
    assert code == case.code, text
    check_message(text)
    for words in case.says:
        assert words in text


def test_the_job_itself_is_fine(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("validate", "plan"):
        assert try_it(wrong("seed=1", verb=verb, says=""), place, capsys) == (0, "")


def test_a_missing_spec_offers_the_nearest_file(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("validate", "plan", "run"):
        assert main([verb, "jbo.yaml"]) == 2
        text = capsys.readouterr().err
        check_message(text)
        assert text == 'error: jbo.yaml: no such file; did you mean "job.yaml"?\n'


@pytest.mark.parametrize("spec", [".", "data/0.parquet", "corrupt/c.csv"])
def test_what_is_no_spec_is_refused_by_name(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", spec]) == 2
    text = capsys.readouterr().err
    check_message(text)
    assert spec in text


def test_a_read_only_storage_is_told_before_anything_starts(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", mib=64) as disk:
        assert mount("-o", "remount,ro", str(disk)).returncode == 0
        for verb in ("plan", "run"):
            case = wrong(f"checkpoint.storage={disk}", verb=verb, says="")
            code, text = try_it(case, place, capsys)
            check_message(text)
            assert code == 4
            assert text.startswith(
                f"error: cannot write to {disk}/job: the file system is read-only"
            )


def test_a_disk_that_is_nearly_full_is_told_before_anything_starts(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", mib=8) as disk:
        code, text = try_it(wrong(f"checkpoint.storage={disk}", verb="run", says=""), place, capsys)
        check_message(text)
        assert code == 4
        assert f"too little space for the run in {disk}/job: 8MiB are free" in text
        assert list(disk.iterdir()) == []


def test_what_works_but_not_well_is_a_warning_in_the_plan(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sets = ["training.global_batch_size=512", "dataset.validation={paths: data, columns: [id]}"]
    assert main(["plan", "job.yaml", *(part for text in sets for part in ("--set", text))]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "training.global_batch_size is 512, but there are 200 rows: an epoch is one" in printed
    assert "dataset.validation has no column 'x', 'label', which dataset.train has" in printed
