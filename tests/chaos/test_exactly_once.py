"""Everything that a run consists of is killed; it ends as if nothing had happened.

What was trained is told by the workers themselves, row by row: see tests/support/witness.py.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from orchestrator.ledger.audit import audit_run
from tests.support import clusters
from tests.support.clusters import LocalCluster, local_cluster
from tests.support.data import write_rows
from tests.support.faults import (
    MAP_WORKER,
    RANK,
    Killed,
    actors,
    kill_coordinator,
    kill_driver,
    kill_map_worker,
    kill_node,
    kill_rank,
    wait_until_idle,
)
from tests.support.ledgers import assert_exact_run
from tests.support.runs import Run, wait_until_gone, write_job
from tests.support.witness import Witness

# 331 rows: no batch and no number of workers divides them. 14 steps an epoch, the last of 19 rows.
ROWS, STEPS_PER_EPOCH, EPOCHS = 331, 14, 5
STEPS = EPOCHS * STEPS_PER_EPOCH


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exactly-once")
    return write_job(
        folder / "job.yaml",
        dataset={
            "train": {"paths": str(write_rows(folder / "train", ROWS))},
            "validation": {"paths": str(write_rows(folder / "validation", 101))},
            "shuffle": {"type": "window", "rows": 96},
        },
        # As long as the training takes: else all is preprocessed before there is anything to kill.
        transforms=[
            {"use": "tests.support.transforms:jitter", "splits": ["train"]},
            {
                "use": "tests.support.transforms:take_long",
                "splits": ["train"],
                "with": {"row_s": 0.01},
            },
        ],
        training={
            "task": "tests.support.witness:WitnessTask",
            "with": {"step_s": 0.1, "log": str(folder)},
            "epochs": EPOCHS,
        },
        # Three workers: their sums depend on the order of additions, which two would hide.
        scaling={
            "workers": 3,
            "superblock_steps": 2,
            "preprocessing": {"workers": 2, "cpus": 1},
        },
    )


def a_run(job: Path, name: str) -> Run:
    (job.parent / name).mkdir()
    return Run(job, name)


def log_of(run: Run) -> str:
    return f"training.with.log={run.job.parent / run.name}"


def witness_of(run: Run) -> Witness:
    return Witness(log=run.job.parent / run.name, run_dir=run.dir)


@pytest.fixture(scope="module")
def undisturbed(job: Path) -> Run:
    run = a_run(job, "undisturbed")
    run.complete(log_of(run))
    assert run.step() == STEPS
    assert len(run.attempts()) == 1
    return run


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCluster]:
    for name, value in clusters.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    # The head, where the driver is, has no room for the workers; each other node has for all.
    with local_cluster(2, 6, 6) as started:
        yield started


def at(record: Mapping[str, object]) -> int:
    return int(str(record["step"]))


def assert_every_row_once(run: Run, undisturbed: Run) -> None:
    """Each epoch has each row in one step that counts, and these steps are the undisturbed run's.

    Steps that were done again, too, had the rows that they should have.
    """
    assert_exact_run(run.dir)
    assert not audit_run(run.dir).problems
    found, wanted = witness_of(run), witness_of(undisturbed).effective
    assert list(wanted) == list(range(STEPS))
    assert found.effective == wanted
    for epoch in range(EPOCHS):
        steps = range(epoch * STEPS_PER_EPOCH, (epoch + 1) * STEPS_PER_EPOCH)
        rows = [row for step in steps for row in found.effective[step]]
        assert sorted(rows) == list(range(ROWS))
    for batches in found.trained.values():
        assert batches == {step: wanted[step] for step in batches}


def assert_same_end(run: Run, undisturbed: Run) -> None:
    assert run.losses() == undisturbed.losses()
    assert run.state_digest() == undisturbed.state_digest()
    scores = [
        {record["step"]: (record["metrics"], record["rows"]) for record in found}
        for found in (run.metrics("validation"), undisturbed.metrics("validation"))
    ]
    assert scores[0] == scores[1]


@pytest.mark.timeout(900)
def test_whatever_dies_every_row_counts_once_and_not_one_bit_is_lost(
    job: Path, undisturbed: Run, cluster: LocalCluster
) -> None:
    run = a_run(job, "killed")
    settings = (log_of(run), f"runtime.address={cluster.address}")
    driver = run.start(*settings)

    def strike(attempt: int, step: int, fault: Callable[[], Killed]) -> Killed:
        driver.wait_for(
            f"step {step} of attempt {attempt}",
            lambda: any(r["attempt"] == attempt and at(r) >= step for r in run.metrics()),
        )
        return fault()

    strike(1, 5, lambda: kill_map_worker(cluster.folder))
    strike(1, 12, lambda: kill_rank(cluster.folder))
    strike(2, 22, lambda: kill_coordinator(cluster.folder))
    node = strike(3, 42, lambda: kill_node(cluster, hosting=RANK))
    assert any("raylet" in title for title in node.processes.values())
    strike(4, 52, lambda: kill_driver(driver))
    run.complete(*settings)

    reasons = [str(event["reason"]) for event in run.events("attempt-failed")]
    # Ray finds the actor dead, or only out of reach: which of these it says first is a race.
    expected = ("died: Actor", " lost ", "died: Actor")
    for reason, part in zip(reasons, expected, strict=True):
        assert part in reason
    classes = [event["class"] for event in run.events("attempt-failed")]
    assert classes == ["worker", "preprocessing", "node"]
    # Whichever of its words Ray says first, the lost node is named.
    assert re.search(r"\(lost: node \S+ \(id [0-9a-f]{12}\)\)$", reasons[2])
    assert [event["class"] for event in run.events("driver-died")] == ["driver"]
    attempts = run.attempts()
    # None for the map worker: its calls were made again by another one.
    assert [attempt["parent"] for attempt in attempts] == [None, 1, 2, 3, 4]
    # Nothing before the last checkpoint is done again; a step or more may follow a kill.
    for attempt, step in zip(attempts, (0, 10, 20, 40, 50), strict=True):
        assert step <= at(attempt) < STEPS
    assert_every_row_once(run, undisturbed)
    assert_same_end(run, undisturbed)
    wait_until_idle(cluster)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_node_that_only_preprocesses_is_missed_by_nobody(
    job: Path, undisturbed: Run, cluster: LocalCluster
) -> None:
    run = a_run(job, "node")
    settings = (
        log_of(run),
        f"runtime.address={cluster.address}",
        # More than the workers' node has room for.
        "scaling.preprocessing.workers=5",
    )
    driver = run.start(*settings)
    driver.wait_for_step(5)
    kill_node(cluster, hosting=MAP_WORKER, sparing=RANK)
    driver.finish()
    assert len(run.attempts()) <= 2
    assert_every_row_once(run, undisturbed)
    assert_same_end(run, undisturbed)
    wait_until_idle(cluster)


def test_after_a_killed_driver_the_run_goes_on_with_fewer_workers_and_the_same_batches(
    job: Path, undisturbed: Run
) -> None:
    run = a_run(job, "fewer")
    driver = run.start(log_of(run))
    driver.wait_for_step(23)
    session = driver.session()
    assert len(actors(session, RANK)) == 3
    kill_driver(driver)
    printed = run.complete(log_of(run), "scaling.workers=2")
    # Nothing of the dead driver has outlived the start of the next one.
    wait_until_gone(session, limit_s=0.0)
    first, second = run.attempts()
    assert (first["workers"], second["workers"]) == (3, 2)
    assert f"from {second['checkpoint']}" in printed
    # In the middle of an epoch.
    assert 20 <= at(second) < STEPS
    assert at(second) % STEPS_PER_EPOCH
    assert_every_row_once(run, undisturbed)


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_is_set_aside_and_the_one_before_it_serves(
    job: Path, undisturbed: Run
) -> None:
    run = a_run(job, "damaged")
    driver = run.start(log_of(run))
    driver.wait_for("two checkpoints", lambda: len(run.events("checkpoint")) >= 2)
    kill_driver(driver)
    # They outlive their driver for a moment and may still save; Ray's agents stay for minutes.
    wait_until_gone(driver.session(), RANK)
    newest = max((run.dir / "checkpoints").glob("step-*/MANIFEST.json")).parent
    state = bytearray((newest / "state.pt").read_bytes())
    state[len(state) // 2] ^= 1
    (newest / "state.pt").write_bytes(state)
    printed = run.complete(log_of(run))
    (aside,) = run.events("checkpoint-set-aside")
    assert aside["name"] == newest.name
    assert newest.name in printed
    assert (run.dir / "checkpoints" / "set-aside" / newest.name / "REASON.txt").exists()
    assert run.attempts()[-1]["checkpoint"] != newest.name
    assert at(run.attempts()[-1]) >= 10
    assert_every_row_once(run, undisturbed)
    assert_same_end(run, undisturbed)
