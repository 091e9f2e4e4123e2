"""Fitted transforms on a real Ray: the same state whoever measures, and one message where not."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.data.fitting import fit_transform
from orchestrator.data.parquet_index import index_parquet
from orchestrator.plan import fitted as plan_fitted
from orchestrator.plan.resources import ClusterCapacity
from orchestrator.run.session import ray_session
from orchestrator.spec.runtime import RuntimeSpec
from tests.support.data import write_rows
from tests.support.plans import make_plan, make_spec
from tests.support.runs import ROOT, Run, wait_until_gone, write_job

CODE = "tests.support.transforms"
ROWS, VALIDATION = 240, 101


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fitted")
    write_rows(folder / "train", ROWS, row_group=10)
    write_rows(folder / "validation", VALIDATION)
    write_job(
        folder / "job.yaml",
        dataset={
            "train": {"paths": str(folder / "train")},
            "validation": {"paths": str(folder / "validation")},
        },
        transforms=[f"{CODE}:Centre"],
        # Without dropout, whose masks follow the lanes: another number of workers has others.
        training={"with": {"step_s": 0.1, "dropout": 0.0}, "epochs": 4},
        scaling={"workers": 2},
    )
    return folder


@pytest.fixture
def session(tmp_path: Path) -> Iterator[None]:
    # For this test alone: the others start the command, and a process has one Ray at a time.
    capacity = ClusterCapacity(cpus=8, gpus=0, cores=2, embedded=True)
    with ray_session(RuntimeSpec(), capacity, run_dir=tmp_path, log_to_driver=False):
        yield


@pytest.mark.usefixtures("session")
def test_the_state_is_the_same_to_the_bit_whoever_measures_and_how_fast(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = index_parquet([str(folder / "train")], root=ROOT, columns=None, where="dataset.train")
    # A window is one fragment of ten rows, measured in pieces of four.
    monkeypatch.setattr(plan_fitted, "WINDOW_BYTES", 1)
    texts = set()
    for workers in (1, 3):
        log = tmp_path / f"measured-{workers}"
        centre = {"use": f"{CODE}:Centre", "with": {"pause_s": 0.2, "log": str(log)}}
        plan = make_plan(
            make_spec(
                transforms=[{**centre, "batch_rows": 4}],
                scaling={"preprocessing": {"workers": workers}},
                runtime={"working_dir": str(ROOT)},
            ),
            train=index,
            fitted={f"{CODE}:Centre"},
        )
        state = fit_transform(plan.train, plan.fitted[0], root=ROOT, fitted=())
        texts.add(state.text)
        measured = [line.split() for line in log.read_text().splitlines()]
        assert len(measured) == 24 * 3
        # All of three need not have come in time.
        assert (len({pid for _, pid in measured}) > 1) == (workers > 1)
        spans = sorted(tuple(map(int, span.split("-"))) for span, _ in measured)
        rows = [row for first, last in spans for row in range(first, last + 1)]
        assert rows == list(range(ROWS))
    (text,) = texts
    assert json.loads(text)["rows"] == ROWS


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_state_of_its_checkpoint(folder: Path) -> None:
    whole = Run(folder / "job.yaml", "whole")
    printed = whole.complete()
    assert f"fitted      {CODE}:Centre  to 240 rows in" in printed
    (fitted,) = whole.events("fitted")
    assert fitted["rows"] == ROWS
    states = {path: path.read_text() for path in whole.dir.rglob("preprocessing.json")}
    assert len(set(states.values())) == 1
    # In the run's directory, in the two checkpoints that are kept, and beside the weights.
    assert len(states) == 4
    (entry,) = json.loads(next(iter(states.values())))["transforms"]
    assert (entry["use"], entry["position"]) == (f"{CODE}:Centre", 1)

    run = Run(folder / "job.yaml", "killed")
    driver = run.start()
    driver.wait_for_step(12)
    driver.process.kill()
    driver.process.wait()
    # What the run's directory says does not count; the checkpoint, which is verified, does.
    (run.dir / "preprocessing.json").write_text("{}")
    run.complete("scaling.workers=1")
    assert len(run.events("fitted")) == 1
    resumed = {path.read_text() for path in run.dir.rglob("preprocessing.json")}
    assert resumed == set(states.values())
    assert run.losses().keys() == whole.losses().keys()
    for step, loss in whole.losses().items():
        assert run.losses()[step] == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        (
            "CannotMeasure",
            5,
            [
                "measure failed on row 117 of epoch 0 (",
                "train/part-0.parquet, row 117): ValueError: row 117 has no measure",
                "transforms.py:",
            ],
        ),
        # Half a minute each, and the same road for all of them: some are enough for every day.
        pytest.param(
            "CannotFit",
            5,
            ["fit failed: ValueError: there is no mean", "transforms.py:"],
            marks=pytest.mark.slow,
        ),
        pytest.param("FitsNan", 5, ["of which state['mean'][1] is nan"], marks=pytest.mark.slow),
        pytest.param(
            "CannotLoad",
            5,
            ["load failed: KeyError: 'median'", "transforms.py:"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "CrashesMeasuring",
            5,
            ["worker died 4 times on the same rows", ":CrashesMeasuring"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "leave",
            5,
            ["failed on row 17 of epoch 0 (", "SystemExit: no row seventeen, please"],
            marks=pytest.mark.slow,
        ),
        ("crash", 5, ["a preprocessing worker died 4 times on the same rows", f"{CODE}:crash"]),
    ],
)
def test_a_mistake_in_a_transform_gives_one_message_and_leaves_nothing_running(
    folder: Path, name: str, code: int, words: list[str]
) -> None:
    run = Run(folder / "job.yaml", f"mistake-{name}")
    driver = run.start(f"transforms=[{CODE}:{name}]")
    driver.wait_for("the session", lambda: (run.dir / "session.json").exists())
    session = driver.session()
    printed = driver.finish(code=code)
    errors = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    told = printed[printed.index("error: ") :]
    for word in words:
        assert word in told
    assert "Traceback" not in printed
    assert len(run.attempts()) == len(run.events("attempt-failed")) == 1
    assert not (run.dir / "preprocessing.json").exists()
    wait_until_gone(session, limit_s=0.0)


# Its like is in tests/chaos/test_interrupt.py: before the first step, and while Ray starts.
@pytest.mark.slow
def test_ctrl_c_while_rows_are_measured_leaves_nothing(folder: Path) -> None:
    run = Run(folder / "job.yaml", "interrupted")
    centre = {"use": f"{CODE}:Centre", "with": {"pause_s": 60.0}}
    driver = run.start(f"transforms={json.dumps([centre])}")
    driver.wait_for("the pass", lambda: bool(run.events("fitting")))
    driver.wait_for("a worker of it", lambda: bool(driver.processes("MapWorker")))
    session = driver.session()
    driver.process.send_signal(signal.SIGINT)
    driver.finish(code=130)
    assert not list(run.dir.rglob("*preprocessing.json*"))
    wait_until_gone(session, limit_s=0.0)
