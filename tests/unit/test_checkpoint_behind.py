"""Saves go on behind the training, one at a time, and what fails there is raised in front."""

import threading

import pytest

from orchestrator.checkpoint.behind import SaveBehind
from orchestrator.errors import CheckpointError

LIMIT_S = 30.0


def test_a_save_goes_on_behind_until_it_is_waited_for() -> None:
    behind, gate, ended = SaveBehind(), threading.Event(), threading.Event()

    def save() -> None:
        assert gate.wait(LIMIT_S)
        ended.set()

    behind.start(save)
    assert behind.busy
    behind.check()
    gate.set()
    behind.wait()
    assert ended.is_set()
    assert not behind.busy


def test_a_second_save_begins_when_the_first_has_ended() -> None:
    behind, happened = SaveBehind(), list[str]()
    gate = threading.Event()

    def first() -> None:
        happened.append("first begins")
        assert gate.wait(LIMIT_S)
        happened.append("first ends")

    behind.start(first)
    opener = threading.Timer(0.05, gate.set)
    opener.start()
    behind.start(lambda: happened.append("second"))
    behind.wait()
    opener.join()
    assert happened == ["first begins", "first ends", "second"]


@pytest.mark.parametrize("error", [CheckpointError("the disk is full"), SystemExit(3)])
def test_what_a_save_raises_is_raised_once_by_the_next_call_as_it_was(error: BaseException) -> None:
    behind, begun = SaveBehind(), list[int]()

    def save() -> None:
        raise error from OSError(28, "No space left on device")

    behind.start(save)
    with pytest.raises(type(error)) as raised:
        behind.start(lambda: begun.append(1))
    assert raised.value is error
    assert isinstance(raised.value.__cause__, OSError)
    assert not begun
    behind.check()
    behind.start(lambda: begun.append(2))
    behind.wait()
    assert begun == [2]


def test_a_check_tells_of_a_save_that_has_failed() -> None:
    behind, failed = SaveBehind(), threading.Event()

    def save() -> None:
        failed.set()
        raise CheckpointError("the disk is full")

    behind.start(save)
    assert failed.wait(LIMIT_S)
    while behind.busy:  # the test's own limit bounds it
        pass
    with pytest.raises(CheckpointError, match="the disk is full"):
        behind.check()
    behind.check()


def test_closing_after_another_failure_only_logs(caplog: pytest.LogCaptureFixture) -> None:
    behind = SaveBehind()

    def save() -> None:
        raise CheckpointError("the disk is full")

    behind.start(save)
    behind.close()
    behind.close()
    assert caplog.text.count("the last checkpoint: the disk is full") == 1
