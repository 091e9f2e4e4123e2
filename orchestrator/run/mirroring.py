"""Copies a run to its mirror behind the training; an outage is told of, and stops nothing."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import JsonValue

from orchestrator.checkpoint.manifest import CheckpointInfo
from orchestrator.checkpoint.mirror import Mirror
from orchestrator.checkpoint.retention import RetentionPolicy
from orchestrator.errors import CheckpointError, JobFailedError
from orchestrator.jsonl import JsonLinesWriter, read_json_lines
from orchestrator.run.directory import RunDirectory

_log = logging.getLogger(__name__)

POLL_S = 1.0
# After an outage that outlasted the retries, until the next try.
PAUSE_S = 30.0
# How long the end of a run waits for the last copy.
END_WAIT_S = 60.0
FAILED, RECOVERED, COPIED = "mirror-failed", "mirror-recovered", "mirrored"

# Written anew at each start, of this machine alone, or too large to be a record. What is left is
# what makes a resumed run the same run: attempts, ledger, counts, metrics and events.
_NOT_RECORDS = frozenset(
    ("checkpoints", "ray", "logs", "model", "lease.json", "session.json", "stop-request", "beats")
) | {"job.yaml", "plan.json", "environment.json"}


class Mirroring:
    """A thread of the driver, from its entry to its exit, which waits for the last copy.

    Args:
        still_ours: raises JobFailedError once another driver has taken the run over.
        abandon: set when a wait for the mirror is to end.
    """

    def __init__(
        self,
        mirror: Mirror,
        directory: RunDirectory,
        retention: RetentionPolicy,
        *,
        still_ours: Callable[[], None],
        abandon: threading.Event,
        poll_s: float = POLL_S,
        pause_s: float = PAUSE_S,
        end_wait_s: float = END_WAIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mirror = mirror
        self._directory = directory
        self._retention = retention
        self._still_ours = still_ours
        self._abandon = abandon
        self._poll_s, self._pause_s, self._end_wait_s = poll_s, pause_s, end_wait_s
        self._clock = clock
        # Digests, not names: a run that lost its directory may use a name a second time.
        self._copied: set[str] | None = None
        self._outage = False
        self._next_try = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)

    def __enter__(self) -> Self:
        self._events = JsonLinesWriter(self._directory.events)
        told = [line.get("event") for line in read_json_lines(self._directory.events)]
        self._outage = next((e for e in reversed(told) if e in (FAILED, RECOVERED)), "") == FAILED
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.set()
        try:
            self._thread.join(self._end_wait_s)
        finally:
            self._abandon.set()
        if self._thread.is_alive():
            where = self._mirror.place
            reason = f"{where} has not taken the last copy {self._end_wait_s:g} s after the end"
            self._tell(FAILED, reason=reason)
            # Its file stays open for the thread, which is a daemon and has no more to say.
            return
        self._events.close()

    def _run(self) -> None:
        while True:
            closing = self._closing.is_set()
            if closing or self._clock() >= self._next_try:
                try:
                    self._round(closing=closing)
                except JobFailedError:
                    return  # The run is another driver's by now, and so is its mirror.
                except CheckpointError as error:
                    self._failed(str(error))
                except Exception as error:  # noqa: BLE001  # a copy must not end silently
                    _log.exception("the mirror")
                    self._failed(f"{self._mirror.place}: {type(error).__name__}: {error}")
            if closing:
                return
            self._closing.wait(self._poll_s)

    def _round(self, *, closing: bool) -> None:
        """Copies what is committed and not there yet, the newest first, and prunes."""
        self._still_ours()
        local = self._directory.checkpoints.committed()
        if self._copied is None:
            self._copied = {info.manifest.digest for info in self._mirror.listing().good}
        pending = [info for info in local if info.manifest.digest not in self._copied]
        done = sum([self._copy(info) for info in pending])
        if pending or closing:
            self._mirror.put_records(records_of(self._directory.path))
        if done:
            self._still_ours()
            self._mirror.prune(self._retention)
        if self._outage and (done or closing):
            self._outage = False
            self._tell(RECOVERED, where=self._mirror.place)

    def _copy(self, info: CheckpointInfo) -> bool:
        assert self._copied is not None  # filled before the first copy
        began = self._clock()
        try:
            # The records first: the checkpoint's ledger and attempt are to be there with it.
            self._mirror.put_records(records_of(self._directory.path))
            self._mirror.put_checkpoint(info)
        except FileNotFoundError:
            return False  # Pruned before its turn came; newer ones are there.
        self._copied.add(info.manifest.digest)
        self._tell(
            COPIED,
            name=info.name,
            step=info.manifest.step,
            bytes=info.manifest.size,
            seconds=self._clock() - began,
        )
        return True

    def _failed(self, reason: str) -> None:
        self._next_try = self._clock() + self._pause_s
        if not self._outage:
            self._tell(FAILED, reason=reason)
        self._outage = True

    def _tell(self, event: str, **fields: JsonValue) -> None:
        try:
            self._events.write({"time": time.time(), "event": event, "attempt": None, **fields})
        except OSError as error:  # a full disk: the training tells of it
            _log.warning("events.jsonl: %s", error)


def records_of(run_dir: Path) -> dict[str, Path]:
    """The files of a run, besides its checkpoints, that are copied with them."""
    found = {}
    for entry in sorted(run_dir.iterdir()):
        if entry.name in _NOT_RECORDS or entry.name.startswith("."):
            continue
        paths = sorted(entry.rglob("*")) if entry.is_dir() else [entry]
        for path in paths:
            if path.is_file() and not path.name.startswith("."):
                found[path.relative_to(run_dir).as_posix()] = path
    return found
