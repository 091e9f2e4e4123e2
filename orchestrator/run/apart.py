"""Long work in a thread of its own, so that the main thread stays ours: signals, and a watch."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

Result = TypeVar("Result")

# Signals are handled between two looks, and a user who presses Ctrl-C is not to wait.
_LOOK_EVERY_S = 0.2


def run_apart(work: Callable[[], Result], check: Callable[[], None]) -> Result:
    """What the work returns; in the main thread Ray would take Ctrl-C away from us.

    Args:
        check: called several times a second in this thread; what it raises ends the wait.
    """
    done: Future[Result] = Future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            done.set_exception(error)
        else:
            done.set_result(result)

    threading.Thread(target=run, name="apart", daemon=True).start()
    while not wait([done], timeout=_LOOK_EVERY_S).done:
        check()
    return done.result()
