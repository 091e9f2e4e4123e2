"""One save at a time, in a thread behind the training; its error comes out in the training."""

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)


class SaveBehind:
    """Runs one save at a time, each in a thread of its own; one thread makes all the calls.

    An error of a save is raised once, as it was, by whichever call comes next.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def busy(self) -> bool:
        """Whether a save is at work."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, save: Callable[[], None]) -> None:
        """Begins a save once the one before has ended.

        Raises:
            BaseException: the one before failed; this one is not begun.
        """
        self.wait()
        # A daemon: storage that does not answer must not keep a process that ends. Whoever needs
        # the save waits for it.
        self._thread = threading.Thread(target=self._run, args=(save,), name="saving", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises the error of a save that has ended; does not wait for one at work."""
        if not self.busy:
            self.wait()

    def wait(self) -> None:
        """Waits until no save is at work.

        Raises:
            BaseException: it failed.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def close(self) -> None:
        """Waits likewise, where something else has failed already: an error is only logged."""
        try:
            self.wait()
        except Exception as error:  # noqa: BLE001  # what led here is the failure to be told
            _log.warning("the last checkpoint: %s", error)

    def _run(self, save: Callable[[], None]) -> None:
        try:
            save()
        except BaseException as error:  # noqa: BLE001  # raised where the training sees it
            self._error = error
