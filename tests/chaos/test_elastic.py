"""Nodes come and go while a run trains: it has more or fewer workers, and the same end.

The seconds that a change took are logged: `-o log_cli=true -o log_cli_level=INFO` shows them.
"""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from orchestrator.ledger.audit import audit_run
from tests.support import clusters
from tests.support.clusters import LocalCluster, local_cluster
from tests.support.data import write_rows
from tests.support.faults import RANK, drain_node, kill_node, kill_raylet_tree, wait_until_idle
from tests.support.ledgers import assert_exact_run
from tests.support.runs import Driver, Run, write_job
from tests.support.witness import Witness

_log = logging.getLogger(__name__)

# 331 rows: no batch and no number of workers divides them. 14 steps an epoch, the last of 19 rows.
ROWS, STEPS_PER_EPOCH, EPOCHS = 331, 14, 10
STEPS = EPOCHS * STEPS_PER_EPOCH


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elastic")
    return write_job(
        folder / "job.yaml",
        dataset={
            "train": {"paths": str(write_rows(folder / "train", ROWS))},
            "shuffle": {"type": "window", "rows": 96},
        },
        training={
            "task": "tests.support.witness:WitnessTask",
            # What is left out of a layer depends on how many workers there are.
            "with": {"step_s": 0.25, "log": str(folder), "dropout": 0.0},
            "epochs": EPOCHS,
        },
        scaling={
            "workers": {"min": 1, "max": 3},
            "grow_after": "2s",
            # So that the head, where the driver is, has no room for them.
            "cpus_per_worker": 2,
            "superblock_steps": 2,
            "preprocessing": {"workers": 1, "cpus": 1},
        },
        checkpoint={"every": "20 steps"},
    )


@pytest.fixture(scope="module")
def undisturbed(job: Path) -> Run:
    run = a_run(job, "undisturbed")
    run.complete(log_of(run), "scaling.workers=2", "training.with.step_s=0")
    assert run.step() == STEPS
    return run


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCluster]:
    """Each node but the head has room for one training worker, and one CPU more."""
    for name, value in clusters.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with local_cluster(1, 3, 3) as started:
        yield started


def a_run(job: Path, name: str) -> Run:
    (job.parent / name).mkdir()
    return Run(job, name)


def log_of(run: Run) -> str:
    return f"training.with.log={run.job.parent / run.name}"


def wait_for_step(run: Run, driver: Driver, step: int, *, workers: int) -> None:
    """Waits until an attempt with so many workers has done a step."""

    def done() -> bool:
        newest = run.attempts()[-1:] if run.dir.exists() else []
        return any(
            record["attempt"] == attempt["number"] and int(str(record["step"])) >= step
            for attempt in newest
            if attempt["workers"] == workers
            for record in run.metrics()
        )

    driver.wait_for(f"step {step} on {workers} workers", done)


def seconds_to_next_step(run: Run, *, workers: int, since: float) -> float:
    """From a moment to the first step that so many workers have done after it."""
    numbers = {each["number"] for each in run.attempts() if each["workers"] == workers}
    times = [float(str(record["time"])) for record in run.metrics() if record["attempt"] in numbers]
    return min(at for at in times if at > since) - since


def assert_same_end(run: Run, undisturbed: Run) -> None:
    """Every row counts once, in the step where it belongs, and the results are as good as equal."""
    assert_exact_run(run.dir)
    assert not audit_run(run.dir).problems
    of_run, wanted = (
        Witness(log=each.job.parent / each.name, run_dir=each.dir) for each in (run, undisturbed)
    )
    assert list(wanted.effective) == list(range(STEPS))
    assert of_run.effective == wanted.effective
    losses, expected = run.losses(), undisturbed.losses()
    assert losses.keys() == expected.keys()
    assert list(losses.values()) == pytest.approx(list(expected.values()), rel=1e-4)
    for name, weight in weights_of(run).items():
        torch.testing.assert_close(weight, weights_of(undisturbed)[name], rtol=1e-4, atol=1e-6)


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    newest = max((run.dir / "checkpoints").glob("step-*"))
    return dict(torch.load(newest / "state.pt", weights_only=True)["parts"]["model"])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_lost_node_costs_workers_and_new_nodes_bring_more_of_them(
    job: Path, undisturbed: Run, cluster: LocalCluster
) -> None:
    run = a_run(job, "resized")
    driver = run.start(log_of(run), f"runtime.address={cluster.address}")
    wait_for_step(run, driver, 25, workers=2)
    lost_at = time.time()
    kill_node(cluster, hosting=RANK)
    wait_for_step(run, driver, 30, workers=1)
    came_at = time.time()
    cluster.add_node(3)
    cluster.add_node(3)
    wait_for_step(run, driver, 40, workers=3)
    printed = driver.finish()

    (shrunk,), (grown,) = run.events("shrunk"), run.events("grown")
    assert (shrunk["from"], shrunk["to"]) == (2, 1)
    assert (grown["from"], grown["to"], grown["steps_lost"]) == (1, 3, 0)
    assert "grown       from 1 to 3 workers" in printed
    # What was trained until the stop was saved, and nothing of it is done again.
    stopped = run.events("stopped")[-1]
    assert run.attempts()[-1]["step"] == stopped["step"] == grown["step"]
    # The growth is no failure.
    (failed,) = run.events("attempt-failed")
    assert failed["class"] == "node"
    assert_same_end(run, undisturbed)
    wait_until_idle(cluster)
    for what, workers, since in (("a lost node", 1, lost_at), ("new nodes", 3, came_at)):
        seconds = seconds_to_next_step(run, workers=workers, since=since)
        _log.info("from %s to a step on %d: %.1f s", what, workers, seconds)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_node_that_is_to_go_is_left_at_a_checkpoint(
    job: Path, undisturbed: Run, cluster: LocalCluster
) -> None:
    run = a_run(job, "preempted")
    driver = run.start(log_of(run), f"runtime.address={cluster.address}")
    wait_for_step(run, driver, 25, workers=2)
    told_at = time.time()
    raylet = drain_node(cluster, hosting=RANK, seconds=30)
    wait_for_step(run, driver, 25, workers=1)
    kill_raylet_tree(raylet)
    driver.finish()

    (notice,) = run.events("preemption-notice")
    assert notice["workers"] == 1
    assert 0 < float(str(notice["seconds_left"])) <= 30
    (failed,) = run.events("attempt-failed")
    assert (failed["class"], failed["steps_lost"]) == ("preemption", 0)
    assert str(notice["node"])[:8] in str(failed["reason"])
    stopped = run.events("stopped")[0]
    assert run.attempts()[1]["step"] == stopped["step"]
    (shrunk,) = run.events("shrunk")
    assert (shrunk["from"], shrunk["to"], shrunk["steps_lost"]) == (2, 1, 0)
    # Its end found nothing of the run on it.
    assert len(run.attempts()) == 2
    assert_same_end(run, undisturbed)
    wait_until_idle(cluster)
    seconds = seconds_to_next_step(run, workers=1, since=told_at)
    _log.info("from the notice to a step without the node: %.1f s", seconds)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_without_room_for_the_fewest_a_run_waits_and_goes_on_once_there_is(
    job: Path, undisturbed: Run, cluster: LocalCluster
) -> None:
    run = a_run(job, "waited")
    driver = run.start(
        log_of(run), f"runtime.address={cluster.address}", "scaling.workers={min: 2, max: 3}"
    )
    wait_for_step(run, driver, 25, workers=2)
    kill_node(cluster, hosting=RANK)
    driver.wait_for("the word of it", lambda: len(run.events("starved")) == 1)
    came_at = time.time()
    cluster.add_node(3)
    driver.finish()
    assert not run.events("shrunk")
    assert_same_end(run, undisturbed)
    wait_until_idle(cluster)
    seconds = seconds_to_next_step(run, workers=2, since=came_at)
    _log.info("from new room to the next step: %.1f s", seconds)
