"""A development cluster: its nodes, its sockets, its token, and that nothing of it is left."""

import os
import signal
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.support.local_clusters import (
    LOOPBACK,
    Home,
    clusters_home,
    listening,
    processes_of,
    wait_for,
)

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with clusters_home() as home:
        done = home.orchestrator("cluster", "up", "--cpu-nodes", "2", "--gpu-nodes", "1")
        assert done.returncode == 0, done.stderr
        yield home


def answer(url: str, **headers: str) -> int:
    """The status of an answer."""
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_its_nodes_have_roles_and_the_head_has_no_work(home: Home) -> None:
    found = cast("list[dict[str, Any]]", home.status()["nodes"])
    assert home.roles() == ["head", "preprocessing", "preprocessing", "training"]
    nodes = {node["labels"]["role"]: node["resources"] for node in found}
    assert nodes["head"].get("CPU", 0) == 0
    assert nodes["preprocessing"]["CPU"] == 4
    assert "GPU" not in nodes["preprocessing"]
    assert nodes["training"]["GPU"] == 1
    text = home.orchestrator("cluster", "status").stdout
    assert "nodes: 4" in text
    assert "jobs: none" in text


def test_everything_listens_on_loopback_alone(home: Home) -> None:
    found = listening(processes_of(home.record()))
    # The GCS, the dashboard, and of each node a raylet's two ports and its agents'.
    assert len(found) > 10
    assert {entry for entry in found if entry[0] not in LOOPBACK} == set()


def test_the_token_is_its_owners_alone_and_the_dashboard_wants_it(home: Home) -> None:
    record = home.record()
    token = Path(str(record["token_file"]))
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    jobs = f"{record['dashboard']}/api/jobs/"
    assert answer(jobs) == 401
    assert answer(jobs, Authorization=f"Bearer {'0' * 64}") == 403
    assert answer(jobs, Authorization=f"Bearer {token.read_text()}") == 200


def test_a_second_up_says_what_runs(home: Home) -> None:
    same = home.orchestrator("cluster", "up", "--cpu-nodes", "2", "--gpu-nodes", "1")
    assert same.returncode == 0, same.stderr
    assert str(home.record()["address"]) in same.stdout
    other = home.orchestrator("cluster", "up", "--cpu-nodes", "1")
    assert other.returncode == 3
    assert 'a cluster "local" runs already, with 2 CPU nodes and 1 GPU nodes' in other.stderr


def test_nodes_are_added_killed_and_drained(home: Home) -> None:
    before = home.roles()
    for action in (["remove"], ["drain", "--in", "1s"]):
        added = home.orchestrator("cluster", "node", "add", "cpu")
        assert added.returncode == 0, added.stderr
        number = added.stdout.split()[1]
        assert home.roles().count("preprocessing") == 3
        gone = home.orchestrator("cluster", "node", *action, number)
        assert gone.returncode == 0, gone.stderr
        assert number in gone.stdout
        # Ray lets go of an idle node that is drained.
        wait_for(lambda: home.roles() == before, what="the node has gone")
        again = home.orchestrator("cluster", "node", *action, number)
        assert again.returncode == 3
        assert f'no node with the number "{number}"' in again.stderr


def test_the_head_is_not_removed(home: Home) -> None:
    nodes = cast("list[dict[str, Any]]", home.status()["nodes"])
    (head,) = [node["id"] for node in nodes if node["labels"]["role"] == "head"]
    refused = home.orchestrator("cluster", "node", "remove", head)
    assert refused.returncode == 3
    assert "is the head" in refused.stderr


def test_clusters_stand_side_by_side(home: Home) -> None:
    done = home.orchestrator(
        "cluster", "up", "--name", "other", "--cpu-nodes", "0", "--gpu-nodes", "0"
    )
    assert done.returncode == 0, done.stderr
    assert home.record("other")["address"] != home.record()["address"]
    assert home.token("other") != home.token()
    unnamed = home.orchestrator("cluster", "status")
    assert unnamed.returncode == 3
    assert "several local clusters run (running: local, other)" in unnamed.stderr
    record = home.record("other")
    assert home.orchestrator("cluster", "down", "--name", "other").returncode == 0
    assert processes_of(record) == []
    assert home.roles() == ["head", "preprocessing", "preprocessing", "training"]


def test_nothing_is_left_of_a_cluster_whose_start_was_killed() -> None:
    with clusters_home() as home:
        up = home.start("cluster", "up")
        wait_for(lambda: home.is_recorded(), what="the start is recorded")
        record = home.record()
        wait_for(lambda: bool(processes_of(record)), what="the head is started")
        second = home.orchestrator("cluster", "up")
        assert second.returncode == 3
        assert 'another command is changing the cluster "local"' in second.stderr
        up.kill()
        up.communicate()
        assert home.orchestrator("cluster", "status").returncode == 3
        assert home.orchestrator("cluster", "down").returncode == 0
        assert processes_of(record) == []


def test_nothing_is_left_of_a_cluster_whose_head_was_killed() -> None:
    with clusters_home() as home:
        up = ("cluster", "up", "--cpu-nodes", "1", "--gpu-nodes", "0")
        assert home.orchestrator(*up).returncode == 0
        record = home.record()
        for process in processes_of(record):
            if "gcs_server" in process.name():
                os.kill(process.pid, signal.SIGKILL)
        wait_for(
            lambda: home.orchestrator("cluster", "status").returncode == 3,
            what="the cluster is told to be gone",
        )
        assert home.orchestrator("cluster", "down").returncode == 0
        assert processes_of(record) == []
        assert not Path(str(record["session"])).exists()
        again = home.orchestrator(*up)
        assert again.returncode == 0, again.stderr
        assert home.roles() == ["head", "preprocessing"]
