"""What a session does around Ray; Ray itself is not started."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from orchestrator.errors import ClusterError
from orchestrator.run import session
from orchestrator.run.session import SESSION_FILE, SESSION_VARIABLE, capacity_of, reap_leftovers
from orchestrator.spec.runtime import RuntimeSpec


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


def test_an_agent_that_has_written_over_its_environment_is_found_by_its_log(tmp_path: Path) -> None:
    folder = tmp_path / "orc-y"
    folder.mkdir()
    with (folder / "agent.log").open("w") as log:
        agent = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(60)"], env={}, stdout=log
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


def test_an_embedded_ray_declares_enough_for_a_small_machine() -> None:
    capacity = capacity_of(RuntimeSpec())
    assert capacity.cpus >= 8
    assert capacity_of(RuntimeSpec(cpus=3)).cpus == 3
    assert capacity.memory_bytes == psutil.virtual_memory().total


def test_an_address_where_nobody_listens_is_told_at_once() -> None:
    with pytest.raises(ClusterError, match=r"nothing answers at runtime\.address 127\.0\.0\.1:1"):
        capacity_of(RuntimeSpec(address="127.0.0.1:1"))


@pytest.mark.parametrize("there", [True, False])
def test_the_token_of_ray_is_readable_by_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    token = tmp_path / "ray" / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    if there:
        token.parent.mkdir()
        token.write_text("of-old")
        token.chmod(0o644)
    session._protect_token()
    assert token.stat().st_mode & 0o777 == 0o600
    assert (token.read_text() == "of-old") == there
    assert len(token.read_text()) > 5
