"""Signals: the first is orderly, the second ends everything, and handlers are given back."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from orchestrator.run.interrupt import Interrupts


def nothing() -> None:
    raise AssertionError("not yet")


def test_a_signal_interrupts_unless_somebody_looks_for_it() -> None:
    interrupts = Interrupts(at_once=nothing)
    with interrupts.handled(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert interrupts.asked


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_where_somebody_looks_for_it_a_signal_is_only_noted(number: signal.Signals) -> None:
    interrupts = Interrupts(at_once=nothing)
    with interrupts.handled(), interrupts.noted():
        assert not interrupts.asked
        signal.raise_signal(number)
        assert interrupts.asked


def test_the_handlers_of_before_are_given_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interrupts(at_once=nothing).handled():
        assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] != before
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_outside_of_the_main_thread_nothing_is_touched() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def work() -> None:
        with Interrupts(at_once=nothing).handled():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


SCRIPT = """\
import signal, sys, time
from orchestrator.run.interrupt import Interrupts

interrupts = Interrupts(at_once=lambda: print("at once", flush=True))
with interrupts.handled(), interrupts.noted():
    print("ready", flush=True)
    while not interrupts.asked:
        time.sleep(0.01)
    print("noted", flush=True)
    try:
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)
"""


def test_the_second_signal_ends_the_process_at_once_and_says_so_to_nobody_but_its_caller() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert process.stdout is not None
    with process.stdout as out:
        assert out.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert out.readline() == "noted\n"
        process.send_signal(signal.SIGTERM)
        assert out.read() == "at once\n"
    assert process.wait(timeout=30) == 130
