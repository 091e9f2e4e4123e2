"""What a dead driver left behind, and ending it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from orchestrator.run.reap import SESSION_FILE, SESSION_VARIABLE, reap_leftovers


def test_what_a_killed_driver_left_is_ended_and_nothing_else(tmp_path: Path) -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    environments = [{**os.environ, SESSION_VARIABLE: mark} for mark in ("of-the-dead", "another")]
    left, other = (subprocess.Popen(sleeper, env=environment) for environment in environments)
    folder = tmp_path / "orc-x"
    folder.mkdir()
    record = tmp_path / SESSION_FILE
    record.write_text(json.dumps({"session": "of-the-dead", "folder": str(folder)}))
    try:
        reap_leftovers(tmp_path)
        left.wait(timeout=10)
        assert not psutil.pid_exists(left.pid)
        assert psutil.pid_exists(other.pid)
        assert other.poll() is None
        assert not folder.exists()
        assert not record.exists()
    finally:
        for process in (left, other):
            process.kill()
            process.wait()


@pytest.mark.parametrize("left", [{}, {"LANG": "C"}], ids=["all", "a part"])
def test_an_agent_that_has_written_over_its_environment_is_found_by_its_log(
    tmp_path: Path, left: dict[str, str]
) -> None:
    folder = tmp_path / "orc-y"
    folder.mkdir()
    with (folder / "agent.log").open("w") as log:
        agent = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(60)"], env=left, stdout=log
        )
    (tmp_path / SESSION_FILE).write_text(json.dumps({"session": "x", "folder": str(folder)}))
    try:
        reap_leftovers(tmp_path)
        agent.wait(timeout=10)
        assert not psutil.pid_exists(agent.pid)
    finally:
        agent.kill()
        agent.wait()


def test_a_damaged_record_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / SESSION_FILE).write_text("{")
    reap_leftovers(tmp_path)
    assert "nothing is reaped" in caplog.text
    assert not (tmp_path / SESSION_FILE).exists()
