"""A job that runs on a development cluster, as `cluster up` says how."""

from pathlib import Path

import psutil
import pytest

from orchestrator.ledger.audit import audit_run
from tests.support.data import write_rows
from tests.support.local_clusters import LOOPBACK, clusters_home, listening, processes_of
from tests.support.runs import Run, write_job

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_a_job_finds_the_token_by_the_address_and_stays_on_loopback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(variable, raising=False)
    job = write_job(
        tmp_path / "job.yaml",
        dataset={"train": {"paths": str(write_rows(tmp_path / "train", 200))}},
        training={
            "with": {"step_s": 0.3},
            "epochs": 4,
        },
        scaling={"workers": 2, "gpus_per_worker": 0.5},
    )
    with clusters_home() as home:
        monkeypatch.setenv("ORCHESTRATOR_HOME", str(home.folder))
        up = home.orchestrator("cluster", "up", "--cpu-nodes", "1", "--gpu-nodes", "1")
        assert up.returncode == 0, up.stderr
        record = home.record()
        run = Run(job, "local")
        driver = run.start(f"runtime.address={record['address']}")
        driver.wait_for_step(3)
        found = listening({*processes_of(record), psutil.Process(driver.process.pid)})
        driver.finish()

    assert audit_run(run.dir).problems == ()
    assert {entry for entry in found if entry[0] not in LOOPBACK} == set()
