"""The processes of a session: how they are marked, and how what is left of them is ended."""

import json
import logging
import os
import re
import shutil
import signal
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import psutil

_log = logging.getLogger(__name__)

# In the environment of everything that a session starts: whatever bears it after the driver's end
# is left over, and unlike a recorded process number it can never be somebody else's.
SESSION_VARIABLE = "ORCHESTRATOR_SESSION"
SESSION_FILE = "session.json"

_FOLDER_PREFIX = "orc-"
_REAP_GRACE_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """The mark that the processes of a session bear, and the folder that they log to."""

    mark: str
    folder: Path


def is_session(session: Session) -> bool:
    """Whether this can be one that was made here; a damaged record may name any mark and folder."""
    marked = re.fullmatch(r"[0-9a-f]{32}", session.mark) is not None
    return marked and session.folder.name.startswith(_FOLDER_PREFIX)


def new_session() -> Session:
    """A fresh mark and folder; nothing is recorded yet."""
    # Short, and not below the run: Ray puts sockets there, whose paths may have 100 characters.
    return Session(mark=uuid.uuid4().hex, folder=Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX)))


def record_session(session: Session, run_dir: Path) -> None:
    """Writes down what a later driver has to look for, before anything bears the mark."""
    content = json.dumps({"session": session.mark, "folder": str(session.folder)})
    staged = run_dir / f".{SESSION_FILE}.tmp"
    staged.write_text(content)
    staged.replace(run_dir / SESSION_FILE)


def end_session(session: Session, run_dir: Path) -> None:
    """Ends every process of a session, and forgets it."""
    reap(session)
    (run_dir / SESSION_FILE).unlink(missing_ok=True)


def reap_leftovers(run_dir: Path) -> None:
    """Ends what an earlier driver of this run on this machine left behind when it was killed.

    The caller holds the run's lock, so that no earlier driver can be alive.
    """
    if (session := recorded_session(run_dir)) is not None:
        reap(session)
    (run_dir / SESSION_FILE).unlink(missing_ok=True)


def recorded_session(run_dir: Path) -> Session | None:
    """The session that a run's driver has begun and not ended, None where there is none."""
    record = run_dir / SESSION_FILE
    try:
        found = json.loads(record.read_text())
        return Session(mark=str(found["session"]), folder=Path(found["folder"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        _log.warning("%s is damaged, nothing is reaped: %s", record, error)
        return None


def reap(session: Session, *, grace_s: float = _REAP_GRACE_S) -> None:
    """Ends the processes, politely first where there is time for it, and removes their folder."""
    if grace_s:
        for process in living(session):
            _signal(process, signal.SIGTERM)
        psutil.wait_procs(living(session), timeout=grace_s)
    until = time.monotonic() + _REAP_GRACE_S
    # Again while there are any: what is killed may have started others meanwhile.
    while (stubborn := living(session)) and time.monotonic() < until:
        for process in stubborn:
            _signal(process, signal.SIGKILL)
        psutil.wait_procs(stubborn, timeout=max(0.0, until - time.monotonic()))
    # A damaged record may name any folder.
    if session.folder.name.startswith(_FOLDER_PREFIX):
        shutil.rmtree(session.folder, ignore_errors=True)


def living(session: Session) -> list[psutil.Process]:
    """The processes of a session, without this one."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and _is_member(process, session):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def _is_member(process: psutil.Process, session: Session) -> bool:
    if process.environ().get(SESSION_VARIABLE) == session.mark:
        return True
    # Ray's agents write their title over their environment, or over a part of it; their logs give
    # them away.
    return any(file.path.startswith(f"{session.folder}/") for file in process.open_files())


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
