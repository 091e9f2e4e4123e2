"""Faults that are no kills: a full disk, lost messages, files of Ray's spoilt, signals, one row."""

import json
import re
import signal
from pathlib import Path

import pytest

from orchestrator.checkpoint.store import CheckpointStore
from tests.support.data import write_rows
from tests.support.faults import RANK, kill_driver
from tests.support.ledgers import assert_exact_run
from tests.support.runs import Driver, Run, wait_until_gone, write_job

STEPS = 20
# A lease is asked for again. A call of an actor that is lost costs an attempt, and each attempt
# makes some dozens of them, in new processes: few are lost, as no attempt would ever get through.
LOSSES = {
    "NodeManagerService.grpc_client.RequestWorkerLease": {
        "num_failures": 20,
        "req_failure_prob": 25,
        "resp_failure_prob": 25,
    },
    "CoreWorkerService.grpc_client.PushTask": {
        "num_failures": 1,
        "req_failure_prob": 1,
        "resp_failure_prob": 1,
    },
}


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two workers, two epochs of ten steps, a state of more than 32 KiB."""
    folder = tmp_path_factory.mktemp("faults")
    return write_job(
        folder / "job.yaml",
        dataset={"train": {"paths": str(write_rows(folder / "train", 240))}},
        training={
            "task": "tests.support.limited:LimitedTask",
            "optimizer": {"type": "adamw"},
        },
        scaling={"workers": 2},
        checkpoint={"every": "4 steps"},
    )


@pytest.fixture(scope="module")
def undisturbed(job: Path) -> Run:
    run = Run(job, "undisturbed")
    run.complete()
    return run


def assert_same(run: Run, undisturbed: Run) -> None:
    assert run.losses() == undisturbed.losses()
    assert run.state_digest() == undisturbed.state_digest()
    assert assert_exact_run(run.dir) == 2


def test_a_full_disk_leaves_the_checkpoint_before_and_the_run_goes_on_once_there_is_room(
    job: Path, undisturbed: Run
) -> None:
    run = Run(job, "full")
    printed = run.complete("training.with.full_from=10", code=4)
    checkpoints = run.dir / "checkpoints"
    # What, where and why, in one message. A save goes on behind the steps after it.
    failed = re.search(
        rf"cannot write a checkpoint into {checkpoints}/step-0*(8|12)-001: (.*)", printed
    )
    assert failed, printed
    assert "limit on file sizes" in failed[2]
    assert "Traceback" not in printed
    store = CheckpointStore(checkpoints)
    info = store.committed()[0]
    assert info.manifest.step == int(failed[1]) - 4
    store.verify(info)
    assert {path.name for path in checkpoints.iterdir()} == {i.name for i in store.committed()}
    assert f"from {info.name}" in run.complete()
    assert_same(run, undisturbed)


def test_nothing_of_rays_own_files_is_needed_to_go_on(job: Path, undisturbed: Run) -> None:
    run = Run(job, "rays-files")
    driver = run.start("training.with.step_s=0.1")
    driver.wait_for("a checkpoint", lambda: len(run.events("checkpoint")) >= 1)
    session = driver.session()
    kill_driver(driver)
    wait_until_gone(session, RANK)
    # Each file is cut short, and beside them lies one that Ray would not begin with.
    for path in list((run.dir / "ray").rglob("*")):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:10])
    torn = run.dir / "ray" / "attempt-1" / "checkpoint_manager_snapshot.json"
    torn.write_text('{"checkpoint_results": [{"che')
    run.complete()
    first, second = run.attempts()
    assert second["parent"] == first["number"]
    assert int(str(second["step"])) >= 4
    assert_same(run, undisturbed)


def test_a_second_driver_is_refused_and_three_signals_end_the_first_in_order(job: Path) -> None:
    run = Run(job, "signals")
    # So slow that the second driver comes while the first one is at work.
    driver = run.start("training.with.step_s=1.0")
    driver.wait_for("a checkpoint", lambda: len(run.events("checkpoint")) >= 1)
    refused = run.complete(code=1)
    assert f"already, by process {driver.process.pid} on " in refused
    session = driver.session()
    for _ in range(3):
        driver.process.send_signal(signal.SIGTERM)
    printed = driver.finish(code=130)
    wait_until_gone(session, limit_s=0.0)
    assert "Traceback" not in printed
    assert len(run.attempts()) == 1
    store = CheckpointStore(run.dir / "checkpoints")
    info, set_aside = store.newest_valid()
    assert info is not None
    assert not set_aside
    assert f"from {info.name}" in run.complete()
    assert len(run.losses()) == STEPS
    assert assert_exact_run(run.dir) == 2


def test_one_row_is_trained_by_several_workers_without_a_wait(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "train", 1, files=1)
    job = write_job(
        tmp_path / "job.yaml",
        dataset={"train": {"paths": str(rows)}},
        scaling={"workers": 2},
    )
    run = Run(job, "one-row")
    run.complete()
    assert run.step() == 2
    assert assert_exact_run(run.dir) == 2


def lost_messages(driver: Driver) -> int:
    """How many messages Ray says that it has lost on purpose, so far."""
    files = [path for path in driver.session().rglob("*") if path.suffix in (".log", ".out")]
    texts = [path.read_text(errors="replace") for path in files if path.is_file()]
    return sum(text.count("Inject RPC") for text in texts)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_lost_messages_cost_nothing_but_time(
    job: Path, undisturbed: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_testing_rpc_failure", json.dumps(LOSSES))
    run = Run(job, "lossy")
    driver = run.start(
        "training.with.step_s=0.1",
        "failure.worker_restarts=20",
        "failure.preprocessing_restarts=20",
    )
    driver.wait_for("a session", lambda: (run.dir / "session.json").exists())
    driver.wait_for("a lost message", lambda: lost_messages(driver) > 0)
    driver.finish()
    assert_same(run, undisturbed)
