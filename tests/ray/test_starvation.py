"""A cluster that others hold: said within seconds, waited for, and given up with the cause."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.busy_cluster import ENVIRONMENT, BusyCluster, busy_cluster
from tests.support.data import write_rows
from tests.support.runs import ROOT, Run, write_job

CPUS = 8
NO_TRAINING = "no place in the cluster for 2 training workers (1 CPU each): 1 of 8 CPUs"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def a_run(folder: Path, cluster: BusyCluster, *, name: str, limit: str) -> Run:
    job = write_job(
        folder / f"{name}.yaml",
        dataset={"train": {"paths": str(write_rows(folder / "train", 240))}},
        scaling={"workers": 2, "preprocessing": {"workers": 2}},
        runtime={"address": cluster.address, "working_dir": str(ROOT)},
        failure={"starvation_timeout": limit},
    )
    return Run(job, name)


@pytest.fixture
def held_by_others(folder: Path, request: pytest.FixtureRequest) -> Iterator[BusyCluster]:
    with busy_cluster(cpus=CPUS, held=request.param) as cluster:
        yield cluster


@pytest.mark.parametrize(
    ("held_by_others", "words"),
    [
        # The cause is also that of the run which waits, below.
        pytest.param(CPUS - 1, NO_TRAINING, marks=pytest.mark.slow),
        (CPUS - 2, "no place in the cluster for 2 preprocessing workers (1 CPU each): 0 of 8 CPUs"),
    ],
    indirect=["held_by_others"],
    ids=["training", "preprocessing"],
)
def test_a_lack_of_room_ends_the_run_with_its_cause(
    folder: Path, held_by_others: BusyCluster, words: str
) -> None:
    run = a_run(folder, held_by_others, name="starved", limit="8s")
    printed = run.complete(code=3)
    assert f"error: {words}" in printed
    assert printed.count("error:") == 1
    assert "Traceback" not in printed
    (told,) = run.events("starved")
    assert words in str(told["cause"])


@pytest.mark.parametrize("held_by_others", [CPUS - 1], indirect=True)
def test_a_run_that_has_waited_for_room_goes_on_once_there_is_some(
    folder: Path, held_by_others: BusyCluster
) -> None:
    run = a_run(folder, held_by_others, name="waited", limit="5m")
    driver = run.start()
    driver.wait_for("the word of it", lambda: len(run.events("starved")) == 1)
    assert NO_TRAINING in str(run.events("starved")[0]["cause"])
    held_by_others.give_back()
    assert "starved" in driver.finish()
    assert run.step() == 20
    assert len(run.attempts()) == 1
