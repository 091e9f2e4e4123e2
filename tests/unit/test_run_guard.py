"""A guard ends what a killed driver leaves, and only then."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from orchestrator.run.guard import guarded
from orchestrator.run.reap import SESSION_VARIABLE, Session

DRIVER = """\
import os, subprocess, sys, time
from pathlib import Path
from orchestrator.run.guard import guarded
from orchestrator.run.reap import SESSION_VARIABLE, Session

session = Session(mark=sys.argv[1], folder=Path(sys.argv[2]))
with guarded(session, os.environ):
    environment = {**os.environ, SESSION_VARIABLE: session.mark}
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    child = subprocess.Popen(sleeper, env=environment, start_new_session=True)
    print(child.pid, flush=True)
    time.sleep(60)
"""


def test_what_a_killed_driver_leaves_is_ended_by_its_guard(tmp_path: Path) -> None:
    folder = tmp_path / "orc-guarded"
    folder.mkdir()
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, f"mark-{os.getpid()}", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout is not None
    with driver.stdout as out:
        child = psutil.Process(int(out.readline()))
        driver.kill()
        driver.wait()
    deadline = time.monotonic() + 20
    while is_at_work(child) or folder.exists():
        assert time.monotonic() < deadline, "the guard has left something"
        time.sleep(0.05)


def test_a_guard_goes_with_its_driver_and_touches_nothing_where_all_is_in_order(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "orc-guarded"
    folder.mkdir()
    session = Session(mark=f"mark-{os.getpid()}-order", folder=folder)
    environment = {**os.environ, SESSION_VARIABLE: session.mark}
    sleeper = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], env=environment
    )
    try:
        with guarded(session, environment):
            guards = [p for p in psutil.Process().children() if session.mark in p.cmdline()]
        assert len(guards) == 1
        assert not guards[0].is_running()
        assert sleeper.poll() is None
        assert folder.exists()
    finally:
        sleeper.kill()
        sleeper.wait()


def is_at_work(process: psutil.Process) -> bool:
    # Where nobody collects a dead process it stays as a zombie.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
