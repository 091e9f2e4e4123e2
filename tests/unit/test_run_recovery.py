"""What follows a failed attempt, under one driver and the next; Ray is not started."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.checkpoint.attempts import Attempt
from orchestrator.errors import DataError, JobFailedError
from orchestrator.jsonl import JsonLinesWriter, JsonObject, read_json_lines
from orchestrator.run.directory import RunDirectory
from orchestrator.run.failure import Failure
from orchestrator.run.host_memory import OomKills
from orchestrator.run.recovery import Recovery
from orchestrator.spec.failure import FailureSpec

DEATH = Failure(reason="worker 1 died: killed", step=0, died=True)
RAISED = Failure(reason="worker 1 failed: ValueError: x", step=0)


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(path=tmp_path)
    directory.attempts.begin(ATTEMPT)
    return directory


@pytest.fixture
def events(directory: RunDirectory) -> Iterator[JsonLinesWriter]:
    with JsonLinesWriter(directory.events) as writer:
        yield writer


ATTEMPT = Attempt(
    number=1,
    parent=None,
    step=0,
    checkpoint=None,
    checkpoint_digest=None,
    workers=2,
    driver=1,
    reason="started",
    host="here",
    pid=1,
    started_at=time.time() - 30,
)


def fail(directory: RunDirectory, events: JsonLinesWriter, failure: Failure) -> None:
    """Under a driver of its own."""
    recovery = Recovery(FailureSpec(worker_restarts=2, node_restarts=1), directory, events)
    recovery.go_on(recovery.tell(failure, ATTEMPT), RuntimeError("as Ray tells it"))


def test_a_new_driver_does_not_get_a_new_budget(
    directory: RunDirectory, events: JsonLinesWriter
) -> None:
    for _ in range(2):
        fail(directory, events, DEATH)
    fail(directory, events, Failure(reason="a node died", step=0, died=True, kind="node"))
    with pytest.raises(JobFailedError, match=r"failure\.worker_restarts \(2\) is used up: worker"):
        fail(directory, events, DEATH)


def test_the_same_exception_under_two_drivers_ends_the_run(
    directory: RunDirectory, events: JsonLinesWriter
) -> None:
    fail(directory, events, RAISED)
    with pytest.raises(JobFailedError, match="it failed in the same way twice"):
        fail(directory, events, RAISED)


def test_an_error_of_ours_is_raised_as_it_is(
    directory: RunDirectory, events: JsonLinesWriter
) -> None:
    cause = DataError("row 17 is cursed", hint="look at it")
    with pytest.raises(DataError, match="row 17 is cursed") as caught:
        fail(directory, events, Failure(reason="r", step=0, cause=cause, kind="bad_data"))
    assert caught.value is cause


def test_an_event_says_what_failed_when_and_what_it_cost(
    directory: RunDirectory, events: JsonLinesWriter
) -> None:
    with JsonLinesWriter(directory.metrics) as metrics:
        for step in (1, 2, 3):
            metrics.write({"time": time.time(), "kind": "train", "attempt": 1, "step": step})
        metrics.write({"time": time.time(), "kind": "train", "attempt": 9, "step": 99})
    fail(directory, events, DEATH)
    (told,) = read_json_lines(directory.events)
    assert (told["event"], told["class"], told["attempt"]) == ("attempt-failed", "worker", 1)
    assert (told["reason"], told["steps_lost"]) == ("worker 1 died: killed", 3)
    assert float(str(told["seconds_lost"])) >= 30


STARTED: JsonObject = {"time": time.time() - 20, "event": "attempt-started", "attempt": 1}


@pytest.mark.parametrize(
    ("last", "told"),
    [(None, 1), ("attempt-failed", 1), ("finished", 0), ("interrupted", 0), ("driver-died", 0)],
)
def test_a_driver_that_nobody_saw_die_is_told_once_by_the_next(
    directory: RunDirectory, events: JsonLinesWriter, last: str | None, told: int
) -> None:
    events.write(STARTED)
    if last is not None:
        events.write({"time": time.time(), "event": last, "attempt": 1})
    before = len(read_json_lines(directory.events))
    for _ in range(2):
        Recovery(FailureSpec(), directory, events).begin()
    assert [event["event"] for event in read_json_lines(directory.events)[before:]] == (
        ["driver-died"] * told
    )


def test_a_death_by_the_kernels_out_of_memory_killer_is_named(tmp_path: Path) -> None:
    counter = tmp_path / "vmstat"
    counter.write_text("nr_free_pages 17\noom_kill 3\noom_kill_other 9\n")
    kills = OomKills((counter, tmp_path / "missing"))
    assert kills.named(DEATH) == DEATH
    counter.write_text("oom_kill 4\n")
    assert kills.named(DEATH).reason == (
        "worker 1 died: killed (the system has killed a process of this host, which was out of"
        " memory)"
    )
    # Once for each: the next death may have another cause, and an exception has its own.
    assert kills.named(DEATH) == DEATH
    counter.write_text("oom_kill 5\n")
    assert kills.named(RAISED) == RAISED
