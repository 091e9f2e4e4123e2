"""How local clusters are recorded, found, and told apart from what a crash has left."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import ClusterError
from orchestrator.provision.alone import alone_with
from orchestrator.provision.registry import ClusterRecord, clusters, find_cluster, recorded
from orchestrator.run.local_clusters import clusters_folder, token_file_of
from orchestrator.run.reap import SESSION_VARIABLE


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_HOME", str(tmp_path))


def record_of(name: str, port: int, *, mark: str = "0" * 32) -> ClusterRecord:
    record = ClusterRecord(
        name=name,
        folder=clusters_folder() / name,
        mark=mark,
        session=Path("/nowhere") / f"orc-{name}",
        address=f"127.0.0.1:{port}",
        dashboard=f"http://127.0.0.1:{port + 1}",
    )
    record.write()
    return record


@contextmanager
def process_of(mark: str) -> Iterator[None]:
    command = [sys.executable, "-c", "import sys; print('here', flush=True); sys.stdin.read()"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, SESSION_VARIABLE: mark},
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.communicate()


def test_a_record_is_read_as_it_was_written_by_its_owner_alone() -> None:
    record = record_of("one", 1000)
    assert recorded("one") == record
    file = record.folder / "cluster.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(record.folder.stat().st_mode) == 0o700


def test_only_what_has_a_process_runs() -> None:
    record_of("dead", 1000)
    alive = record_of("alive", 2000, mark="a" * 32)
    with process_of("a" * 32):
        assert clusters() == (alive,)
        assert find_cluster(None) == alive
        with pytest.raises(
            ClusterError, match='no local cluster "alife" runs; did you mean "alive"'
        ):
            find_cluster("alife")
        replace(alive, address="").write()
        assert clusters() == ()


def test_without_a_cluster_it_says_how_to_get_one() -> None:
    with pytest.raises(ClusterError) as caught:
        find_cluster(None)
    assert caught.value.hint == "orchestrator cluster up starts one"


def test_a_token_is_found_by_either_address() -> None:
    record = record_of("one", 1000)
    record_of("two", 2000)
    (clusters_folder() / "three").mkdir()
    (clusters_folder() / "three" / "cluster.json").write_text("{")
    assert token_file_of("127.0.0.1:1000") == record.token_file
    assert token_file_of("http://127.0.0.1:1001") == record.token_file
    assert token_file_of("127.0.0.1:3000") is None


def test_a_damaged_record_is_named() -> None:
    record = record_of("one", 1000)
    (record.folder / "cluster.json").write_text('{"name": 1}')
    with pytest.raises(ClusterError, match=r"cluster\.json is damaged"):
        recorded("one")


@pytest.mark.parametrize(
    "forged",
    [
        {"session": Path("/home")},
        {"mark": ""},
        {"address": "10.0.0.1:6379"},
        {"dashboard": "http://127.0.0.1:80@example.org"},
    ],
)
def test_nothing_is_ended_or_sent_by_a_forged_record(forged: dict[str, Any]) -> None:
    replace(record_of("one", 1000), **forged).write()
    with pytest.raises(ClusterError, match=r"cluster\.json is damaged"):
        recorded("one")


def test_the_token_is_the_one_beside_the_record() -> None:
    record = record_of("one", 1000)
    file = record.folder / "cluster.json"
    file.write_text(file.read_text().replace(str(record.token_file), "/etc/passwd"))
    assert token_file_of(record.address) == record.token_file


def test_two_commands_do_not_change_a_cluster_at_once() -> None:
    with (
        alone_with("one"),
        pytest.raises(ClusterError, match='another command is changing the cluster "one"'),
        alone_with("one"),
    ):
        pass
    with alone_with("one"):
        pass
