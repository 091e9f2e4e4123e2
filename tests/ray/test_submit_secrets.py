"""A submitted job has its secrets in all its processes; who looks at the cluster reads none."""

import urllib.request
from pathlib import Path

import pytest

from tests.support.data import write_rows
from tests.support.local_clusters import Home, clusters_home
from tests.support.runs import ROOT, write_job

pytestmark = pytest.mark.timeout(300)
SECRET = "hush-hush-4711"
ROUTES = (
    "/api/jobs/",
    "/api/v0/actors?detail=1&limit=1000",
    "/api/v0/tasks?detail=1&limit=1000",
    "/api/v0/workers?detail=1&limit=1000",
    "/api/v0/runtime_envs?detail=1&limit=1000",
)


def test_secrets_reach_the_workers_and_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(tmp_path / "train", 96)
    (tmp_path / "stamps").mkdir()
    job = write_job(
        tmp_path / "job.yaml",
        runtime={
            "working_dir": str(ROOT),
            "data_dir": str(tmp_path),
            "env": {"MY_SECRET": "${env:HUSH}", "MY_SETTING": "four"},
        },
        dataset={"train": {"paths": "train"}},
        transforms=["tests.support.hush:needs_secret"],
        training={
            "task": "tests.support.hush:Task",
            "with": {"stamps": str(tmp_path / "stamps")},
            "epochs": 1,
        },
        scaling={"workers": 2, "preprocessing": {"workers": 1}},
        checkpoint={"storage": "runs"},
    )
    with clusters_home() as home:
        up = home.orchestrator("cluster", "up", "--cpu-nodes", "1", "--gpu-nodes", "0")
        assert up.returncode == 0, up.stderr
        # Only now: the cluster was started without it.
        monkeypatch.setenv("HUSH", SECRET)
        done = home.orchestrator("submit", str(job), "--follow")
        assert done.returncode == 0, done.stdout + done.stderr
        told = done.stdout + done.stderr + "".join(answer(home, route) for route in ROUTES)
        session = Path(str(home.record()["session"]))
        logs = [path for path in session.rglob("logs/**/*") if path.is_file()]
        assert logs
        leaks = [path for path in logs if SECRET.encode() in path.read_bytes()]
    assert "MY_SETTING" in told
    assert SECRET not in told
    assert leaks == []
    stamps = {path.name.split("-")[1] for path in (tmp_path / "stamps").iterdir()}
    assert stamps == {str(len(SECRET))}
    stored = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert [path for path in stored if SECRET.encode() in path.read_bytes()] == []
    assert not list((tmp_path / "runs").glob(".*.secrets"))


def answer(home: Home, route: str) -> str:
    """What the dashboard tells a program that has the token."""
    request = urllib.request.Request(
        f"{home.record()['dashboard']}{route}", headers={"Authorization": f"Bearer {home.token()}"}
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        return str(response.read().decode())
