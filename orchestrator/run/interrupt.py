"""Ctrl-C and SIGTERM during a run: the first ends it in good order, the second at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Whether the user has asked for the end.

    While an attempt is at work the first signal is only noted: the driver's loop heeds it, because
    a handler must not touch what the thread that it interrupts may hold. At any other time it
    raises KeyboardInterrupt. A second one calls `at_once` and ends the process there and then.

    Args:
        at_once: ends the processes of the run; called from the signal handler.
    """

    def __init__(self, *, at_once: Callable[[], None]) -> None:
        self._at_once = at_once
        self._noting = False
        self._handling = False
        self._signals = 0

    @property
    def asked(self) -> bool:
        """Whether there has been a signal."""
        return self._signals > 0

    def request(self) -> None:
        """Does what a first signal does, and nothing after one; from any thread."""
        if self.asked:
            return
        main = threading.main_thread().ident
        if self._handling and main is not None:
            # To that thread, so that whatever it waits for in the system is interrupted.
            signal.pthread_kill(main, signal.SIGINT)
        else:
            self._signals += 1

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handles the signals within it; outside of the main thread nothing can, and nothing is."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        self._install()
        self._handling = True
        try:
            yield
        finally:
            self._handling = False
            for number, handler in before.items():
                signal.signal(number, handler)

    def install_again(self) -> None:
        """Takes the signals back, as Ray has taken SIGTERM when it was started.

        Raises:
            KeyboardInterrupt: there has been a signal, which Ray has kept to itself.
        """
        self._install()
        if self.asked:
            raise KeyboardInterrupt

    def _install(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                signal.signal(number, self._handle)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Within it a first signal raises nothing: whoever works there looks at `asked`."""
        self._noting = True
        try:
            yield
        finally:
            self._noting = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            self._at_once()
            # Nothing that could block: whatever hangs is the reason for the second signal.
            os._exit(INTERRUPTED)
        if not self._noting:
            raise KeyboardInterrupt
