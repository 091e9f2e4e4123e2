"""What the driver looks at while an attempt is at work: the user's signals, and starvation."""

import time
from collections.abc import Callable

from orchestrator.jsonl import JsonLinesTail
from orchestrator.run.directory import RunDirectory, replace_file
from orchestrator.run.failure import Failure
from orchestrator.run.hang_watch import HangWatch
from orchestrator.run.interrupt import Interrupts
from orchestrator.run.starvation import StarvationWatch
from orchestrator.train.stop import STOP_FILE, StopRequested

# A step or a validation may be under way, and then comes the save.
STOP_LIMIT_S = 120.0
# Ray ends an attempt within a second, unless its own processes got the signal too.
STOPPED_LIMIT_S = 5.0


class AttemptWatch:
    """Called several times a second in the driver's main thread while the workers are at work.

    Args:
        still_ours: raises once another driver has taken the run over.
        say: shows the user what is being waited for.
        hangs: None where no hang is looked for.
    """

    def __init__(
        self,
        directory: RunDirectory,
        attempt: int,
        interrupts: Interrupts,
        starvation: StarvationWatch,
        *,
        still_ours: Callable[[], None],
        say: Callable[[str], None],
        hangs: HangWatch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._attempt = attempt
        self._interrupts = interrupts
        self._starvation = starvation
        self._still_ours = still_ours
        self._say = say
        self._hangs = hangs
        self._clock = clock
        self._events = JsonLinesTail(directory.events)
        self._training = False
        self._asked_at: float | None = None
        self._stopped_at: float | None = None

    def check(self) -> None:
        """Looks once.

        Raises:
            KeyboardInterrupt: the user wants an end, and there is nothing to save, or no time left.
            StopRequested: the workers have saved and stopped, and Ray does not tell.
            ClusterError: the workers have found no place for too long.
            JobFailedError: another driver has taken the run over.
        """
        self._still_ours()
        for event in self._events.new():
            if event.get("attempt") == self._attempt:
                self._take(str(event.get("event")))
        if self._interrupts.asked:
            self._heed()
        else:
            self._starvation.check()
            if self._hangs is not None:
                self._hangs.check()

    def hang(self, *, step: int) -> Failure | None:
        """What the attempt failed of, where a worker of it hung."""
        return None if self._hangs is None else self._hangs.failure(step=step)

    def close(self) -> None:
        """Removes what the workers left for it."""
        if self._hangs is not None:
            self._hangs.close()

    def _take(self, event: str) -> None:
        if event == "training-started":
            self._training = True
        elif event == "stopped":
            self._stopped_at = self._clock()

    def _heed(self) -> None:
        if not self._training:
            raise KeyboardInterrupt
        if self._stopped_at is not None:
            if self._clock() - self._stopped_at > STOPPED_LIMIT_S:
                raise StopRequested("stopped after the last checkpoint")
            return
        if self._asked_at is None:
            self._asked_at = self._clock()
            replace_file(self._directory.path / STOP_FILE, str(self._attempt))
            self._say("stopping: a last checkpoint is being written; Ctrl-C again ends at once")
        elif self._clock() - self._asked_at > STOP_LIMIT_S:
            self._say(f"no checkpoint in {STOP_LIMIT_S:g} s: stopping without one")
            raise KeyboardInterrupt
