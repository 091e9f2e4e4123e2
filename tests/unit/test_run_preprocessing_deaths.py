"""Deaths among preprocessing workers, as Ray counts them: told and charged; without Ray."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.data.pools import PoolWorker
from orchestrator.errors import JobFailedError
from orchestrator.jsonl import JsonLinesWriter, read_json_lines
from orchestrator.run import preprocessing_deaths
from orchestrator.run.budgets import Account, read_account, write_account
from orchestrator.run.directory import RunDirectory
from orchestrator.run.preprocessing_deaths import PreprocessingDeaths
from orchestrator.spec.failure import FailureSpec

READ, MAP = "MapWorker(MapBatches(ReadStage))", "MapWorker(MapBatches(MapStage))"


class Pools:
    """Workers that die when told to, and what is made of it."""

    def __init__(self, directory: RunDirectory, events: JsonLinesWriter, *, budget: int) -> None:
        self.directory = directory
        self.now = 0.0
        self.workers = {
            number: PoolWorker(number=number, pool=pool, state="ALIVE", restarts=0, node=node)
            for number, pool, node in (("1", READ, "A"), ("2", READ, "B"), ("3", MAP, "B"))
        }
        self.deaths = PreprocessingDeaths(
            FailureSpec(preprocessing_restarts=budget),
            directory,
            events,
            look=lambda: [*self.workers.values()],
            clock=lambda: self.now,
        )
        self.deaths.check(1)

    def die(self, *numbers: str, times: int = 1) -> None:
        """They die; the watch looks once while they are started again, and once after that."""
        for number in numbers:
            worker = self.workers[number]
            self.workers[number] = replace(
                worker, state="RESTARTING", restarts=worker.restarts + times, node=""
            )
        self.look()
        for number in numbers:
            self.workers[number] = replace(self.workers[number], state="ALIVE", node="C")
        self.look()

    def look(self) -> None:
        self.now += preprocessing_deaths.LOOK_EVERY_S
        self.deaths.check(1)

    @property
    def told(self) -> list[tuple[object, ...]]:
        events = read_json_lines(self.directory.events)
        assert all(e["event"] == "preprocessing-death" and e["attempt"] == 1 for e in events)
        assert all(e["class"] == "preprocessing" for e in events)
        return [(event["deaths"], event["pool"], event["nodes"]) for event in events]

    @property
    def spent(self) -> int:
        return read_account(self.directory.path).spent.get("preprocessing", 0)


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory(path=tmp_path)


@pytest.fixture
def events(directory: RunDirectory) -> Iterator[JsonLinesWriter]:
    with JsonLinesWriter(directory.events) as writer:
        yield writer


def test_nothing_is_told_of_workers_that_live(
    directory: RunDirectory, events: JsonLinesWriter
) -> None:
    pools = Pools(directory, events, budget=0)
    pools.look()
    assert pools.told == []
    assert read_account(directory.path) == Account()


def test_a_death_is_told_once_with_its_pool_and_where_it_was(
    directory: RunDirectory, events: JsonLinesWriter
) -> None:
    pools = Pools(directory, events, budget=5)
    pools.die("1")
    pools.look()
    assert pools.told == [(1, READ, ["A"])]
    pools.die("1", times=2)
    assert pools.told[1:] == [(2, READ, ["C"])]
    assert pools.spent == 3


def test_workers_that_die_together_are_charged_once(
    directory: RunDirectory, events: JsonLinesWriter
) -> None:
    pools = Pools(directory, events, budget=1)
    pools.die("2", "3")
    assert pools.told == [(1, MAP, ["B"]), (1, READ, ["B"])]
    # Another one for the first time: as bad as before.
    pools.die("1")
    assert len(pools.told) == 3
    assert pools.spent == 1


def test_a_worker_that_dies_too_often_ends_the_run(
    directory: RunDirectory, events: JsonLinesWriter
) -> None:
    pools = Pools(directory, events, budget=2)
    pools.die("1")
    pools.die("1")
    message = r"failure\.preprocessing_restarts \(2\) is used up: a preprocessing worker died 3"
    with pytest.raises(JobFailedError, match=message):
        pools.die("1")
    assert len(pools.told) == 3


def test_a_budget_of_minus_one_is_any(directory: RunDirectory, events: JsonLinesWriter) -> None:
    pools = Pools(directory, events, budget=-1)
    pools.die("1", times=50)
    assert pools.spent == 50


def test_a_newer_checkpoint_fills_the_budget_again(
    directory: RunDirectory, events: JsonLinesWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools = Pools(directory, events, budget=1)
    pools.die("1")
    # The checkpoints of a directory are tested where they are written.
    monkeypatch.setattr(preprocessing_deaths, "saved_steps", lambda _: 10)
    pools.die("1")
    assert pools.spent == 1


def test_what_has_raised_before_is_not_forgotten_over_a_death(
    directory: RunDirectory, events: JsonLinesWriter
) -> None:
    raised = "step 0: worker 1 failed: ValueError: x"
    write_account(Account().charged("worker", step=0, last=raised), directory.path)
    Pools(directory, events, budget=5).die("1")
    account = read_account(directory.path)
    assert account.last == raised
    assert account.spent == {"worker": 1, "preprocessing": 1}


def test_a_worker_that_had_ended_and_is_needed_again_has_not_died(
    directory: RunDirectory, events: JsonLinesWriter
) -> None:
    pools = Pools(directory, events, budget=0)
    pools.workers["1"] = replace(pools.workers["1"], state="DEAD")
    pools.look()
    pools.die("1")
    assert pools.told == []


def test_ray_is_asked_once_a_second_and_when_an_attempt_has_ended(
    directory: RunDirectory, events: JsonLinesWriter
) -> None:
    pools = Pools(directory, events, budget=5)
    pools.workers["1"] = replace(pools.workers["1"], restarts=1)
    pools.deaths.check(1)
    assert pools.told == []
    pools.deaths.note(1)
    assert pools.told == [(1, READ, ["A"])]
