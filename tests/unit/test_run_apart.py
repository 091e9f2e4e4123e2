"""Work that nobody waits for any longer is known, and starts no Ray of its own."""

import threading
import time

import pytest
from ray._private import auto_init_hook

from orchestrator.run.apart import left_at_work, run_apart

LIMIT_S = 30.0


def nothing() -> None:
    """Has no objection."""


def interrupt() -> None:
    raise KeyboardInterrupt


def test_what_the_work_returns_or_raises_comes_out() -> None:
    assert run_apart(lambda: 3, nothing) == 3
    with pytest.raises(ZeroDivisionError):
        run_apart(lambda: 1 // 0, nothing)
    assert not left_at_work()


def test_an_interrupt_leaves_the_work_which_may_not_start_a_cluster() -> None:
    go_on = threading.Event()
    with pytest.raises(KeyboardInterrupt):
        run_apart(lambda: go_on.wait(LIMIT_S), interrupt)
    assert left_at_work()
    assert not auto_init_hook.enable_auto_connect
    go_on.set()
    end = time.monotonic() + LIMIT_S
    while left_at_work() or not auto_init_hook.enable_auto_connect:
        assert time.monotonic() < end
        time.sleep(0.01)
