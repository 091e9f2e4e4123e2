"""Tells, while training waits for data, that it does and what the preprocessing is at."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from orchestrator.data.pools import describe_pools, pool_workers
from orchestrator.train.recorder import Recorder

# The wait for a block that is still being made is no matter for worry before.
TELL_AFTER_S = 10.0
_LOOK_EVERY_S = 1.0


def explain_waiting() -> str:
    """What the preprocessing workers are at."""
    return describe_pools(pool_workers())


class Feeding(Protocol):
    """What is looked at: since when the feed has been waiting, None where it is not."""

    @property
    def waiting_since(self) -> float | None: ...


class WaitingForData:
    """A thread beside the first rank's loop, which itself is stuck in the wait.

    Args:
        feed: of the training rows.
        explain: why there is no data, as far as it can be seen.
    """

    def __init__(
        self,
        feed: Feeding,
        recorder: Recorder,
        *,
        explain: Callable[[], str] = explain_waiting,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._feed = feed
        self._recorder = recorder
        self._explain = explain
        self._clock = clock
        self._told: float | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="waiting", daemon=True)

    def look(self) -> None:
        """Tells of a wait once it is long, and once it is over."""
        since = self._feed.waiting_since
        if self._told is not None and since != self._told:
            self._recorder.data_arrived()
            self._told = None
        if since is None or since == self._told:
            return
        seconds = self._clock() - since
        if seconds >= TELL_AFTER_S:
            self._told = since
            self._recorder.waiting_for_data(seconds=seconds, cause=self._explain())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_EVERY_S):
            self.look()
