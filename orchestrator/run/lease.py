"""One driver at a time for a run: a lease that is renewed for as long as its holder lives.

A dead holder on this machine is noticed at once. Of another machine nothing can be seen but whether
the lease changes, so its term is waited out, by our own clock: those of two hosts may differ.
"""

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from orchestrator.checkpoint.files import storage_errors
from orchestrator.errors import CheckpointError, JobFailedError
from orchestrator.run.holder import (
    LEASE_FILE,
    TERM_S,
    Here,
    Holder,
    parse_lease,
    read_lease,
    this_process,
)
from orchestrator.units import format_duration

_log = logging.getLogger(__name__)

LOCK_FILE = "driver.lock"
RENEW_EVERY_S = TERM_S / 6
_LOOK_EVERY_S = 0.5
_HINT = "wait for its end, end it, or give this job another name with --name"


class _MovedError(JobFailedError):
    """The directory is not where it was when its lock was opened."""


class Lease:
    """A lease that this process has taken; `hold_lease` renews and releases it."""

    def __init__(self, run_dir: Path, holder: Holder) -> None:
        self._run_dir = run_dir
        self._holder = holder
        self._busy = threading.Lock()
        self._lost = False

    @property
    def lost(self) -> bool:
        """Whether somebody else has taken the run over."""
        return self._lost

    @property
    def token(self) -> str:
        """What tells this holder from all others, in lease.json too."""
        return self._holder.token

    def check(self) -> None:
        """Raises JobFailedError once somebody else has taken the run over."""
        if self._lost:
            raise JobFailedError(
                f"the run in {self._run_dir} has been taken over by another driver, because this"
                f" one did not renew its lease for {format_duration(self._holder.term_s)}",
                hint="nothing is lost: the other driver goes on from the newest checkpoint",
            )

    def renew(self) -> None:
        """Shows that this process is alive; finds out whether the lease is lost."""
        with self._busy:
            if self._lost:
                return
            try:
                with _exclusively(self._run_dir):
                    if self._owns():
                        self._holder = replace(self._holder, renewals=self._holder.renewals + 1)
                        _write(self._run_dir, self._holder)
                        return
            except _MovedError:
                pass
            self._lost = True

    def move(self, target: Path) -> None:
        """Renames the run's directory; the lease goes with it."""
        with self._busy, _exclusively(self._run_dir), storage_errors("rename", self._run_dir):
            self._run_dir.rename(target)
            self._run_dir = target

    def release(self) -> None:
        """Lets go of the run, if it is still ours."""
        try:
            with self._busy, _exclusively(self._run_dir):
                if self._owns():
                    (self._run_dir / LEASE_FILE).unlink()
        # It ends with this process anyhow; how the run itself went is what counts.
        except (OSError, CheckpointError, _MovedError) as error:
            _log.warning("the lease is not released: %s", error)

    def _owns(self) -> bool:
        found = parse_lease(read_lease(self._run_dir) or b"")
        return found is not None and found.token == self._holder.token


@contextmanager
def hold_lease(
    run_dir: Path, *, say: Callable[[str], None], renew_every_s: float = RENEW_EVERY_S
) -> Iterator[Lease]:
    """Holds the run; where this process is killed, the next driver takes it over.

    Args:
        say: tells a person why it takes a while.
        renew_every_s: seconds between two renewals.

    Raises:
        JobFailedError: another driver is at work on the run.
    """
    lease = take_lease(run_dir, say=say, here=this_process())
    ended = threading.Event()
    thread = threading.Thread(
        target=_keep, args=(lease, ended, renew_every_s), name="lease", daemon=True
    )
    thread.start()
    try:
        yield lease
    finally:
        ended.set()
        thread.join()
        lease.release()


def take_lease(
    run_dir: Path,
    *,
    say: Callable[[str], None],
    here: Here,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> Lease:
    """Takes the lease of a run, after the term of a holder that cannot be seen from here.

    Raises:
        JobFailedError: another driver is at work on the run.
    """
    seen, until = b"", 0.0
    while True:
        # Read, judged and written under one lock, so that two drivers cannot both take it.
        with _exclusively(run_dir):
            content = read_lease(run_dir)
            holder = parse_lease(content) if content else None
            if not content or _is_gone(holder, here) or (content == seen and clock() >= until):
                mine = here.new_holder()
                _write(run_dir, mine)
                return Lease(run_dir, mine)
        if (holder and here.knows(holder)) or (seen and content != seen):
            who = holder or "a driver that has just renewed its lease"
            raise JobFailedError(
                f"the run in {run_dir} is being trained already, by {who}", hint=_HINT
            )
        if not seen:
            term_s = _term_of(holder)
            seen, until = content, clock() + term_s
            say(_why_waiting(run_dir, holder, term_s))
        wait(_LOOK_EVERY_S)


def _is_gone(holder: Holder | None, here: Here) -> bool:
    return holder is not None and here.knows(holder) and not here.sees(holder)


def _term_of(holder: Holder | None) -> float:
    # A lease that we did not write is not believed to be good for hours.
    return holder.term_s if holder and 0 < holder.term_s <= TERM_S else TERM_S


def _why_waiting(run_dir: Path, holder: Holder | None, term_s: float) -> str:
    who = f"{holder} has a lease on it" if holder else "its lease is damaged"
    return (
        f"waiting up to {format_duration(term_s)} to see whether the run in {run_dir} is being"
        f" trained: {who}"
    )


def _keep(lease: Lease, ended: threading.Event, every_s: float) -> None:
    while not ended.wait(every_s):
        try:
            lease.renew()
        # The next renewal may succeed; if none does, whoever takes the run over is noticed.
        except (OSError, CheckpointError) as error:
            _log.warning("the lease is not renewed: %s", error)


def _write(run_dir: Path, holder: Holder) -> None:
    # Not synced: after a crash of the machine this lease has no holder, whatever it holds.
    path = run_dir / LEASE_FILE
    staged = run_dir / f".{LEASE_FILE}.{holder.token}.tmp"
    with storage_errors("write", path):
        staged.write_bytes(holder.to_bytes())
        staged.replace(path)


@contextmanager
def _exclusively(run_dir: Path) -> Iterator[None]:
    path = run_dir / LOCK_FILE
    with storage_errors("open", path):
        file = path.open("a")
    with file:
        with storage_errors("lock", path):
            fcntl.flock(file, fcntl.LOCK_EX)
        if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise _MovedError(
                f"the run in {run_dir} has just been set aside by another command",
                hint="the same command again starts over",
            )
        yield
