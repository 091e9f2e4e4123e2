"""A long wait for data is told once, with what the preprocessing is at, and so is its end."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.data.pools import PoolWorker, describe_pools
from orchestrator.jsonl import read_json_lines
from orchestrator.train.recorder import Recorder
from orchestrator.train.waiting import WaitingForData


class FakeFeed:
    """A feed that waits since a moment that the test sets."""

    waiting_since: float | None = None


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path, attempt=3)
    yield recorder
    recorder.close()


def events(folder: Path) -> list[tuple[object, object]]:
    lines = read_json_lines(folder / "events.jsonl")
    return [(line["event"], line.get("cause")) for line in lines]


def test_a_wait_is_told_once_it_is_long_and_when_it_is_over(
    tmp_path: Path, recorder: Recorder
) -> None:
    feed, clock = FakeFeed(), Clock()
    waiting = WaitingForData(feed, recorder, explain=lambda: "all asleep", clock=clock)
    waiting.look()
    feed.waiting_since = 50.0
    clock.now = 59.0
    waiting.look()
    assert events(tmp_path) == []
    for clock.now in (60.0, 61.0, 100.0):
        waiting.look()
    assert events(tmp_path) == [("waiting-for-data", "all asleep")]
    feed.waiting_since = None
    waiting.look()
    waiting.look()
    assert events(tmp_path)[1:] == [("data-arrived", None)]


def test_the_next_long_wait_is_told_again(tmp_path: Path, recorder: Recorder) -> None:
    feed, clock = FakeFeed(), Clock()
    waiting = WaitingForData(feed, recorder, explain=lambda: "busy", clock=clock)
    for since in (50.0, 80.0):
        feed.waiting_since, clock.now = since, since + 20
        waiting.look()
    assert [name for name, _ in events(tmp_path)] == [
        "waiting-for-data",
        "data-arrived",
        "waiting-for-data",
    ]


def test_the_thread_ends_with_its_context(recorder: Recorder) -> None:
    with WaitingForData(FakeFeed(), recorder, explain=lambda: ""):
        assert "waiting" in {thread.name for thread in threading.enumerate()}
    assert "waiting" not in {thread.name for thread in threading.enumerate()}


def workers(*states: str, restarts: int = 0) -> list[PoolWorker]:
    return [
        PoolWorker(number=f"{n}", pool="MapWorker(x)", state=state, restarts=restarts, node="")
        for n, state in enumerate(states)
    ]


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (workers("ALIVE", "ALIVE"), "2 preprocessing workers are at work"),
        (
            workers("ALIVE", "RESTARTING", restarts=3),
            "1 preprocessing worker is at work, 1 preprocessing worker is being started again;"
            " they have died 6 times so far",
        ),
        (workers("PENDING_CREATION"), "1 preprocessing worker is being started"),
        (workers("DEAD"), "no preprocessing worker is alive"),
        ([], "no preprocessing worker is alive"),
    ],
)
def test_what_the_workers_are_at_is_told_in_words(found: list[PoolWorker], text: str) -> None:
    assert describe_pools(found) == text
