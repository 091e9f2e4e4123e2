"""Long work in a thread of its own, so that the main thread stays ours: signals, and a watch."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from ray._private import auto_init_hook

Result = TypeVar("Result")

# Signals are handled between two looks, and a user who presses Ctrl-C is not to wait.
_LOOK_EVERY_S = 0.2
# Threads whose work nobody waits for any longer; they cannot be ended from outside.
_left: set[threading.Thread] = set()


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
        finally:
            _forget(threading.current_thread())

    thread = threading.Thread(target=run, name="apart", daemon=True)
    thread.start()
    try:
        while not wait([done], timeout=_LOOK_EVERY_S).done:
            check()
    except BaseException:
        # Ray would start another cluster for whatever the thread asks of it next.
        auto_init_hook.enable_auto_connect = False
        _left.add(thread)
        raise
    return done.result()


def left_at_work() -> bool:
    """Whether a thread is still in Ray's hands, which an interpreter that ends would crash on."""
    return any(thread.is_alive() for thread in _left)


def _forget(thread: threading.Thread) -> None:
    _left.discard(thread)
    if not _left:
        auto_init_hook.enable_auto_connect = True
