"""A run has one driver at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import JobFailedError
from orchestrator.run.lock import LOCK_FILE, run_lock

HOLD = """
import sys, time
from pathlib import Path
from orchestrator.run.lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_driver_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with (
            pytest.raises(JobFailedError, match=f"already, by process {first.pid} on "),
            run_lock(tmp_path),
        ):
            pass
        first.kill()
        first.wait()
    # However it ended: nothing has to be tidied up by hand.
    with run_lock(tmp_path):
        assert "process" in (tmp_path / LOCK_FILE).read_text()
