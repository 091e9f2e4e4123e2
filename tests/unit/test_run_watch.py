"""What a driver does about a signal depends on what the workers have told so far."""

import signal
from pathlib import Path

import pytest

from orchestrator.errors import JobFailedError
from orchestrator.jsonl import JsonLinesWriter
from orchestrator.run.directory import RunDirectory
from orchestrator.run.interrupt import Interrupts
from orchestrator.run.starvation import StarvationWatch
from orchestrator.run.watch import STOP_LIMIT_S, STOPPED_LIMIT_S, AttemptWatch
from orchestrator.train.stop import STOP_FILE, StopRequested

ATTEMPT = 3


class Attempt:
    """An attempt at work in a folder, and a watch over it."""

    def __init__(self, folder: Path) -> None:
        self.directory = RunDirectory(path=folder)
        self.now = 0.0
        self.said: list[str] = []
        self.looks = 0
        self.died_too_often = False
        self.taken_over = False
        self.interrupts = Interrupts(at_once=lambda: None)
        starvation = StarvationWatch(self._look, self.said.append, limit_s=60.0)
        self.watch = AttemptWatch(
            self.directory,
            ATTEMPT,
            self.interrupts,
            starvation,
            still_ours=self._still_ours,
            deaths=self._count_deaths,
            say=self.said.append,
            clock=lambda: self.now,
        )

    def _look(self) -> None:
        self.looks += 1

    def _count_deaths(self) -> None:
        if self.died_too_often:
            raise JobFailedError("died too often")

    def _still_ours(self) -> None:
        if self.taken_over:
            raise JobFailedError("taken over")

    def tell(self, event: str, *, attempt: int = ATTEMPT) -> None:
        with JsonLinesWriter(self.directory.events) as events:
            events.write({"event": event, "attempt": attempt})

    def interrupt(self) -> None:
        with self.interrupts.handled(), self.interrupts.noted():
            signal.raise_signal(signal.SIGINT)

    @property
    def request(self) -> Path:
        return self.directory.path / STOP_FILE


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    return Attempt(tmp_path)


def test_without_a_signal_only_the_cluster_is_looked_at(attempt: Attempt) -> None:
    attempt.tell("training-started")
    attempt.watch.check()
    assert attempt.looks == 1
    assert not attempt.request.exists()


def test_a_run_that_is_another_drivers_by_now_is_left_to_it(attempt: Attempt) -> None:
    attempt.taken_over = True
    with pytest.raises(JobFailedError, match="taken over"):
        attempt.watch.check()


def test_deaths_among_the_preprocessing_workers_may_end_it_but_no_last_save(
    attempt: Attempt,
) -> None:
    attempt.tell("training-started")
    attempt.died_too_often = True
    with pytest.raises(JobFailedError, match="died too often"):
        attempt.watch.check()
    attempt.interrupt()
    attempt.watch.check()
    assert attempt.request.exists()


def test_a_signal_before_training_has_begun_ends_the_wait(attempt: Attempt) -> None:
    # Of an earlier attempt, whose workers may still be writing.
    attempt.tell("training-started", attempt=ATTEMPT - 1)
    attempt.interrupt()
    with pytest.raises(KeyboardInterrupt):
        attempt.watch.check()
    assert not attempt.request.exists()


def test_a_signal_in_training_asks_the_workers_once_and_says_so(attempt: Attempt) -> None:
    attempt.tell("training-started")
    attempt.interrupt()
    for attempt.now in (1.0, 2.0, 3.0):
        attempt.watch.check()
    assert attempt.request.read_text() == str(ATTEMPT)
    (said,) = attempt.said
    assert said.startswith("stopping")


def test_workers_that_do_not_answer_are_not_waited_for_for_ever(attempt: Attempt) -> None:
    attempt.tell("training-started")
    attempt.interrupt()
    attempt.watch.check()
    attempt.now = STOP_LIMIT_S + 1
    with pytest.raises(KeyboardInterrupt):
        attempt.watch.check()


def test_workers_that_have_stopped_need_no_word_of_ray(attempt: Attempt) -> None:
    attempt.tell("training-started")
    attempt.interrupt()
    attempt.watch.check()
    attempt.tell("stopped")
    attempt.watch.check()
    attempt.now = 4.0
    attempt.watch.check()
    attempt.now = 6.0
    with pytest.raises(StopRequested):
        attempt.watch.check()


def test_an_attempt_that_has_stopped_is_not_waited_for_whoever_has_asked_it(
    attempt: Attempt,
) -> None:
    attempt.tell("training-started")
    attempt.tell("stopped")
    attempt.watch.check()
    attempt.now += STOPPED_LIMIT_S + 0.1
    with pytest.raises(StopRequested):
        attempt.watch.check()
