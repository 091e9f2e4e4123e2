"""Starts the driver, and again when it dies: a process that has little in it that could die.

Neither ray nor torch is imported. The driver is in a process group of its own, so that a terminal's
Ctrl-C reaches it once, through here; on Linux it dies with its supervisor.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from orchestrator.checkpoint.files import storage_errors
from orchestrator.errors import JobFailedError
from orchestrator.jsonl import JsonLinesWriter
from orchestrator.run.budgets import read_account, write_account
from orchestrator.run.cost import saved_steps
from orchestrator.run.directory import RunDirectory
from orchestrator.run.driver_death import record_death
from orchestrator.units import format_count

SUPERVISOR_VARIABLE = "ORCHESTRATOR_SUPERVISOR"
"""In a driver's environment: the number of the process that supervises it."""
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
# As a shell tells it: 128 and the signal's number. 130 is how a run ends that was interrupted.
_SHELL_SIGNAL, _INTERRUPTED = 128, 130
_LONGEST_PAUSE_S = 30.0
_PR_SET_PDEATHSIG = 1


def is_supervised() -> bool:
    """Whether this process is a driver that has a supervisor."""
    return os.environ.get(SUPERVISOR_VARIABLE) == str(os.getppid())


def supervise(
    command_of: Callable[[int], Sequence[str]],
    run_dir: Path,
    *,
    budget: int,
    say: Callable[[str], None],
) -> int:
    """Runs a driver until it ends in good order, and returns its exit code.

    Args:
        command_of: the command of the n-th start, from 0 on.
        budget: how many deaths without a newer checkpoint are survived.

    Raises:
        JobFailedError: it has died more often.
    """
    signals = _Signals()
    with signals.passed_on():
        start = 0
        while True:
            code = _run(command_of(start), signals)
            how = _death(code)
            if how is None or signals.asked:
                return code if code >= 0 else _SHELL_SIGNAL - code
            spent = _charge(run_dir, how, budget)
            again = f"it is started again ({spent} of {format_count(budget)} without progress)"
            say(f"the driver died: {how}; {again}")
            # The first time at once; a driver that dies as it starts is not to fill the machine.
            if spent > 1 and signals.wait(min(_LONGEST_PAUSE_S, 2.0 ** (spent - 1))):
                return _INTERRUPTED
            start += 1


class _Signals:
    """What the user has sent, passed on to the driver of the moment."""

    def __init__(self) -> None:
        self._child: int | None = None
        self._early: list[int] = []
        self._asked = threading.Event()

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    def wait(self, seconds: float) -> bool:
        """Waits, at most until there is a signal; returns whether there was one."""
        return self._asked.wait(seconds)

    def follow(self, child: int | None) -> None:
        """Passes on to a driver what comes, and what came while it was being started."""
        self._child = child
        while child is not None and self._early:
            os.kill(child, self._early.pop())

    @contextmanager
    def passed_on(self) -> Iterator[None]:
        before = {number: signal.getsignal(number) for number in _PASSED_ON}
        for number, handler in before.items():
            # What nohup has had ignored stays ignored, here and in the driver.
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._handle)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._asked.set()
        if self._child is None:
            self._early.append(number)
        else:
            # It is no one else's number: the driver is waited for after this is forgotten.
            os.kill(self._child, number)


def _run(command: Sequence[str], signals: _Signals) -> int:
    """Runs one driver to its end and leaves nothing of its process group."""
    if signals.asked:
        return _INTERRUPTED
    supervisor = os.getpid()
    # Looked up before the fork: after it, nothing may wait for a lock.
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def die_with_supervisor() -> None:
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:
            os._exit(_INTERRUPTED)

    driver = subprocess.Popen(
        list(command),
        env={**os.environ, SUPERVISOR_VARIABLE: str(supervisor)},
        process_group=0,
        preexec_fn=die_with_supervisor,
    )
    signals.follow(driver.pid)
    # Not reaped yet: as long as its number is taken, its group's is too.
    os.waitid(os.P_PID, driver.pid, os.WEXITED | os.WNOWAIT)
    signals.follow(None)
    with suppress(ProcessLookupError, PermissionError):  # nobody is left but the dead
        os.killpg(driver.pid, signal.SIGKILL)
    return driver.wait()


def _death(code: int) -> str | None:
    """How a driver died, None where it ended in good order."""
    if code < 0:
        return f"by {_name(-code)}"
    if code > _SHELL_SIGNAL and code != _INTERRUPTED:
        return f"exit code {code}"
    return None


def _name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"


def _charge(run_dir: Path, how: str, budget: int) -> int:
    """Writes a death down; returns how many there were without a newer checkpoint."""
    directory = RunDirectory(path=run_dir)
    with storage_errors("make", run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)
    account = read_account(run_dir).charged("driver", step=saved_steps(directory))
    write_account(account, run_dir)
    gone = account.overdrawn("driver", budget)
    why = f"failure.restart_driver ({format_count(budget)}) is used up: the driver died: {how}"
    with storage_errors("write", directory.events), JsonLinesWriter(directory.events) as events:
        record_death(directory, events, how=how)
        if gone:
            ending = {"event": "failed", "attempt": None, "reason": why, "exit_code": 1}
            events.write({"time": time.time(), **ending})
    if gone:
        raise JobFailedError(
            why, hint=f"what it printed last is in {directory.logs}; the same command goes on"
        )
    return account.spent["driver"]
