"""A request to stop, as the driver leaves it in the run directory."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from orchestrator.errors import OrchestratorError

STOP_FILE = "stop-request"
_INTERVAL_S = 0.2


class StopRequested(OrchestratorError):
    """The run was asked to stop, and has saved what it trained."""

    exit_code: ClassVar[int] = 130


class StopRequest:
    """Looks for a request to this attempt; an older one was meant for another.

    Looking costs a file access, which may be slow on shared storage: not in every short step.
    """

    def __init__(
        self, run_dir: Path, *, attempt: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = run_dir / STOP_FILE
        self._attempt = attempt
        self._clock = clock
        self._next = clock()

    def made(self) -> bool:
        """Whether it was there when it was last looked for."""
        if self._clock() < self._next:
            return False
        self._next = self._clock() + _INTERVAL_S
        try:
            return self._path.read_text().strip() == str(self._attempt)
        except OSError:  # not there, or out of reach for a moment: looked for again
            return False
