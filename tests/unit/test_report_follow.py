"""Following the files of a run while they grow."""

import logging
import threading
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.jsonl import JsonLinesWriter, JsonObject
from orchestrator.report.follow import Follower
from orchestrator.report.progress import ProgressDisplay


class Screen(StringIO):
    """A file that says when something has been written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def write(self, text: str) -> int:
        count = super().write(text)
        if text:
            self.written.set()
        return count


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.fixture
def display(screen: Screen) -> ProgressDisplay:
    console = Console(file=screen, force_terminal=False, width=80)
    return ProgressDisplay(
        console, total_steps=100, steps_per_epoch=50, epochs=2, plain_interval_s=0.0
    )


def train_line(step: int) -> JsonObject:
    return {
        "time": float(step),
        "attempt": 1,
        "kind": "train",
        "epoch": 0,
        "step": step,
        "loss": 0.5,
        "lr": 0.1,
        "rows": step * 8,
        "rows_per_s": 8.0,
        "wait_share": 0.0,
        "metrics": {},
    }


def test_what_is_added_to_the_files_is_shown(
    tmp_path: Path, screen: Screen, display: ProgressDisplay
) -> None:
    with Follower(tmp_path, display, interval_s=0.001):
        with JsonLinesWriter(tmp_path / "metrics.jsonl") as metrics:
            metrics.write(train_line(10))
        assert screen.written.wait(timeout=30)
        assert "step  10/100" in screen.getvalue()
        screen.written.clear()
        with JsonLinesWriter(tmp_path / "events.jsonl") as events:
            events.write({"time": 1.0, "event": "finished", "attempt": 1, "step": 100})
        assert screen.written.wait(timeout=30)
    assert "step 100  finished" in screen.getvalue()


def test_stopping_shows_what_is_left(
    tmp_path: Path, screen: Screen, display: ProgressDisplay
) -> None:
    follower = Follower(tmp_path, display, interval_s=3600.0)
    follower.start()
    with JsonLinesWriter(tmp_path / "metrics.jsonl") as metrics:
        metrics.write(train_line(10))
    follower.stop()
    assert "step  10/100" in screen.getvalue()


def test_what_earlier_attempts_wrote_is_not_shown(
    tmp_path: Path, screen: Screen, display: ProgressDisplay
) -> None:
    with JsonLinesWriter(tmp_path / "metrics.jsonl") as metrics:
        metrics.write(train_line(10))
        with Follower(tmp_path, display):
            metrics.write(train_line(20))
    assert "step  10/100" not in screen.getvalue()
    assert "step  20/100" in screen.getvalue()


def test_a_display_that_fails_is_reported_and_ends_nothing_else(
    tmp_path: Path, display: ProgressDisplay, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.ERROR),
        JsonLinesWriter(tmp_path / "metrics.jsonl") as metrics,
        Follower(tmp_path, display, interval_s=3600.0),
    ):
        metrics.write({**train_line(10), "step": "ten"})
    assert "the progress of the run is no longer shown" in caplog.text
    assert "train line: step: got 'ten', wanted an integer" in caplog.text
