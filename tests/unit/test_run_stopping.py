"""A run is asked from outside to save and end: the driver that was meant heeds it, and no other."""

import json
import os
import threading
from pathlib import Path

import pytest

from orchestrator.run import cluster
from orchestrator.run.interrupt import Interrupts
from orchestrator.run.stopping import REQUEST_FILE, request_end, requests_heeded
from orchestrator.spec.runtime import RuntimeSpec

LIMIT_S = 10.0


def nothing() -> None:
    """For a second signal, which none of these tests sends."""


def test_the_driver_that_was_asked_heeds_it_once(tmp_path: Path) -> None:
    asked = threading.Semaphore(0)
    with requests_heeded(tmp_path, "mine", asked.release, look_every_s=0.01):
        request_end(tmp_path, token="mine")
        assert asked.acquire(timeout=LIMIT_S)
        request_end(tmp_path, token="mine")
    assert not asked.acquire(blocking=False)
    assert (tmp_path / REQUEST_FILE).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", ['{"lease": "another"}', "{", "[]", '{"other": 1}', ""])
def test_a_request_to_another_driver_or_a_damaged_one_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / REQUEST_FILE).write_text(content)
    calls: list[int] = []
    looked = threading.Event()

    class Watched(type(tmp_path)):  # type: ignore[misc] # a path that tells when it is read
        def read_bytes(self) -> bytes:
            looked.set()
            return bytes(super().read_bytes())

    folder = Watched(tmp_path)
    with requests_heeded(folder, "mine", lambda: calls.append(1), look_every_s=0.01):
        assert looked.wait(LIMIT_S)
    assert calls == []


def test_a_request_interrupts_what_the_main_thread_does() -> None:
    interrupts = Interrupts(at_once=nothing)
    thread = threading.Thread(target=interrupts.request)

    def work() -> None:
        thread.start()
        threading.Event().wait(LIMIT_S)

    with interrupts.handled(), pytest.raises(KeyboardInterrupt):
        work()
    thread.join()
    assert interrupts.asked


def test_a_request_after_a_signal_does_not_count_as_a_second_one() -> None:
    interrupts = Interrupts(at_once=lambda: os._exit(3))
    with interrupts.handled(), interrupts.noted():
        interrupts.request()
        interrupts.request()
        assert interrupts.asked


def test_where_no_signal_is_handled_a_request_is_noted() -> None:
    interrupts = Interrupts(at_once=nothing)
    interrupts.request()
    assert interrupts.asked


def test_what_a_job_has_brought_along_is_not_brought_again() -> None:
    environ = {**dict.fromkeys(cluster.ENVIRONMENT, "1")}
    runtime = RuntimeSpec(working_dir="/code")
    outside = cluster.code_environment(runtime, environ)
    assert outside["working_dir"] == "/code"
    assert outside["env_vars"] == environ
    brought = {"working_dir": "gcs://a.zip", "env_vars": {"RAY_DEDUP_LOGS": "1", "B": ""}}
    config = json.dumps({"runtime_env": brought})
    inside = cluster.code_environment(
        runtime, {**environ, cluster.RAY_JOB_CONFIG_JSON_ENV_VAR: config}
    )
    assert "working_dir" not in inside
    assert inside["env_vars"] == {
        name: "1" for name in cluster.ENVIRONMENT if name != "RAY_DEDUP_LOGS"
    }
