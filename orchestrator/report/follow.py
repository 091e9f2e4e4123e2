"""A thread that shows what a run writes while it is running."""

import logging
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from orchestrator.jsonl import JsonLinesTail
from orchestrator.report.progress import ProgressDisplay
from orchestrator.report.records import parse_events, parse_records

logger = logging.getLogger(__name__)

INTERVAL_S = 0.2
"""How often the files of the run are looked at."""


class Follower:
    """Feeds a display with what is added to metrics.jsonl and events.jsonl.

    What the files hold when it is made belongs to earlier attempts and is not shown, so make it
    before the attempt that it is to follow begins.
    """

    def __init__(
        self, run_dir: Path, display: ProgressDisplay, *, interval_s: float = INTERVAL_S
    ) -> None:
        self._display = display
        self._interval_s = interval_s
        self._metrics = JsonLinesTail(run_dir / "metrics.jsonl")
        self._events = JsonLinesTail(run_dir / "events.jsonl")
        self._metrics.new()
        self._events.new()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Shows what is left, then ends the thread; blocks until it has ended."""
        self._stopping.set()
        self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._interval_s):
                self._feed()
            self._feed()
        except Exception:  # nobody may lose a training because a pipe was closed; it is logged
            logger.exception("the progress of the run is no longer shown")

    def _feed(self) -> None:
        self._display.update(parse_records(self._metrics.new()), parse_events(self._events.new()))
