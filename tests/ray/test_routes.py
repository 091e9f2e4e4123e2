"""Every route of the dashboard and of the agents wants the token, a new Ray's new routes too."""

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

from tests.support.local_clusters import Home, clusters_home

pytestmark = pytest.mark.ray

# What a browser needs to ask for the token, and whether the processes live. Ray lists them in
# http_server_head.py and http_server_agent.py; the test fails where that list grows.
PUBLIC = {
    "/",
    "/favicon.ico",
    "/api/authentication_mode",
    "/api/authenticate",
    "/api/healthz",
    "/api/gcs_healthz",
    "/api/local_raylet_healthz",
    "/-/healthz",
    "/static",
}
BAD = f"Bearer {'0' * 64}"
# As they log them when they have started.
_ROUTE = re.compile(r"<ResourceRoute \[(?P<method>\S+)\] <\w+ +(?P<path>\S+)")
_AGENT = re.compile(r"Dashboard agent http address: (\S+)")


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with clusters_home() as home:
        done = home.orchestrator("cluster", "up", "--cpu-nodes", "1", "--gpu-nodes", "0")
        assert done.returncode == 0, done.stderr
        yield home


def ask(url: str, method: str = "GET", **headers: str) -> int:
    """The status of an answer."""
    request = urllib.request.Request(url, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def logged(home: Home, pattern: str) -> str:
    logs = Path(str(home.record()["session"]))
    return "\n".join(path.read_text() for path in sorted(logs.rglob(pattern)))


def routes(text: str) -> set[tuple[str, str]]:
    """Methods and paths; names in a path are replaced by some name."""
    return {
        ("POST" if match["method"] == "*" else match["method"], re.sub(r"\{[^}]*\}", "x", path))
        for match in _ROUTE.finditer(text)
        if (path := match["path"].rstrip(">"))
    }


def check(base: str, found: set[tuple[str, str]]) -> set[str]:
    """Asks each route without a token and with a wrong one; returns the paths that answer."""
    public = set()
    for method, path in sorted(found):
        statuses = [ask(base + path, method), ask(base + path, method, Authorization=BAD)]
        if path in PUBLIC or path.startswith("/static"):
            public.add(path)
            continue
        assert statuses == [401, 403], f"{method} {path}: {statuses}"
    return public


def test_every_route_of_the_dashboard_wants_the_token(home: Home) -> None:
    found = routes(logged(home, "dashboard.log"))
    assert len(found) > 50
    assert {("POST", "/api/jobs/"), ("GET", "/api/jobs/"), ("GET", "/nodes")} <= found
    base = str(home.record()["dashboard"])
    check(base, found)
    assert ask(f"{base}/api/jobs/", Authorization=f"Bearer {home.token()}") == 200


def test_every_route_of_the_agents_wants_the_token(home: Home) -> None:
    text = logged(home, "dashboard_agent*.log")
    found, agents = routes(text), set(_AGENT.findall(text))
    assert ("POST", "/api/job_agent/jobs/") in found
    assert len(agents) >= 2
    for agent in agents:
        check(f"http://{agent}", found)


def test_the_agents_of_runtime_environments_want_the_token(home: Home) -> None:
    # Each node's agent writes down where it listens; it logs no routes.
    session = Path(str(home.record()["session"]))
    ports = {int(path.read_text()) for path in session.rglob("runtime_env_agent_port*")}
    assert len(ports) >= 2
    names = ("get_or_create_runtime_env", "delete_runtime_env_if_possible", "get_runtime_envs_info")
    for port in ports:
        assert check(f"http://127.0.0.1:{port}", {("POST", f"/{name}") for name in names}) == set()


def test_a_browser_may_look_and_not_act(home: Home) -> None:
    base, right = str(home.record()["dashboard"]), f"Bearer {home.token()}"
    browser = {"Authorization": right, "User-Agent": "Mozilla/5.0"}
    assert ask(f"{base}/api/jobs/", "GET", **browser) == 200
    assert ask(f"{base}/api/jobs/", "POST", **browser) == 405
    assert ask(f"{base}/api/jobs/x", "DELETE", **browser) == 405
    elsewhere = {"Authorization": right, "Origin": "http://evil.example"}
    assert ask(f"{base}/api/jobs/", "POST", **elsewhere) == 405


@pytest.mark.parametrize("metadata", [(), (("authorization", BAD),)])
def test_the_gcs_wants_the_token(home: Home, metadata: tuple[tuple[str, str], ...]) -> None:
    with grpc.insecure_channel(str(home.record()["address"])) as channel:
        nodes = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
        request = gcs_service_pb2.GetAllNodeInfoRequest()
        with pytest.raises(grpc.RpcError) as caught:
            nodes.GetAllNodeInfo(request, metadata=metadata, timeout=10)
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED  # type: ignore[attr-defined]
