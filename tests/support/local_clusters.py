"""Development clusters, started and ended by the command as a user would."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import psutil

from orchestrator.run.reap import SESSION_VARIABLE
from tests.support.runs import members_of, title_of

LIMIT_S = 120.0
# The last one is the first, on a socket that speaks both versions of IP.
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@dataclass(frozen=True)
class Home:
    """The folder of a test's clusters, and the command in it."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "ORCHESTRATOR_HOME": str(self.folder)}

    def orchestrator(
        self, *arguments: str, timeout: float = LIMIT_S
    ) -> "subprocess.CompletedProcess[str]":
        """Runs the command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "orchestrator", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Starts the command, and returns at once."""
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator", *arguments],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def is_recorded(self, name: str = "local") -> bool:
        return (self.folder / "clusters" / name / "cluster.json").exists()

    def record(self, name: str = "local") -> dict[str, object]:
        """What is recorded of a cluster."""
        path = self.folder / "clusters" / name / "cluster.json"
        return cast("dict[str, object]", json.loads(path.read_text()))

    def token(self, name: str = "local") -> str:
        return (self.folder / "clusters" / name / "token").read_text()

    def status(self, name: str = "local") -> dict[str, object]:
        """The cluster, as `cluster status --json` tells it."""
        done = self.orchestrator("cluster", "status", "--name", name, "--json")
        assert done.returncode == 0, done.stderr
        return cast("dict[str, object]", json.loads(done.stdout))

    def roles(self, name: str = "local") -> list[str]:
        """The roles of the nodes that are alive, sorted."""
        nodes = cast("list[dict[str, dict[str, str]]]", self.status(name)["nodes"])
        return sorted(node["labels"]["role"] for node in nodes)


@contextmanager
def clusters_home() -> Iterator[Home]:
    """A folder for clusters; whatever a test has left in it is ended."""
    with tempfile.TemporaryDirectory(prefix="och-") as folder:
        home = Home(Path(folder))
        try:
            yield home
        finally:
            done = home.orchestrator("cluster", "down", "--all")
            assert done.returncode == 0, done.stderr


def processes_of(record: dict[str, object]) -> list[psutil.Process]:
    """The processes of a cluster: those with its mark or in its folder, and all below them."""
    # Ray's agents write their title over their environment and their arguments.
    found = set(members_of(Path(str(record["session"]))))
    for process in psutil.process_iter():
        try:
            if process.environ().get(SESSION_VARIABLE) == record["mark"]:
                found |= {process, *process.children(recursive=True)}
        except psutil.Error:
            continue
    return [process for process in found if process.is_running()]


def listening(processes: Iterable[psutil.Process]) -> set[tuple[str, int, str]]:
    """Where processes listen: address, port, and what the process calls itself."""
    found = set()
    for process in processes:
        try:
            found |= {
                (connection.laddr.ip, connection.laddr.port, title_of(process))
                for connection in process.net_connections(kind="tcp")
                if connection.status == psutil.CONN_LISTEN
            }
        except psutil.NoSuchProcess:
            continue
    return found


def wait_for(true: Callable[[], bool], *, what: str, limit_s: float = LIMIT_S) -> None:
    """Waits until a condition holds."""
    until = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < until, f"not within {limit_s:.0f} s: {what}"
        time.sleep(0.3)
