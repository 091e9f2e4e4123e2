"""A request to stop is meant for one attempt, and looked for now and then."""

from pathlib import Path

import pytest

from orchestrator.train.stop import STOP_FILE, StopRequest


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("content", "made"),
    [("3", True), ("3\n", True), ("2", False), ("", False), ("33", False), ("x", False)],
)
def test_a_request_is_for_its_attempt(content: str, made: bool, tmp_path: Path) -> None:
    (tmp_path / STOP_FILE).write_text(content)
    assert StopRequest(tmp_path, attempt=3).made() is made


def test_it_is_looked_for_five_times_a_second_at_most(tmp_path: Path) -> None:
    clock = Clock()
    request = StopRequest(tmp_path, attempt=1, clock=clock)
    assert not request.made()
    (tmp_path / STOP_FILE).write_text("1")
    clock.now += 0.19
    assert not request.made()
    clock.now += 0.02
    assert request.made()


def test_a_place_that_cannot_be_read_is_no_request(tmp_path: Path) -> None:
    (tmp_path / STOP_FILE).mkdir()
    assert not StopRequest(tmp_path, attempt=1).made()
