"""Preprocessing on CPU nodes and training on those for it, by the run's own records."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator.jsonl import read_json_lines
from tests.support.data import write_rows
from tests.support.local_clusters import Home, clusters_home
from tests.support.runs import write_job

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with clusters_home() as home:
        done = home.orchestrator("cluster", "up", "--cpu-nodes", "2", "--gpu-nodes", "1")
        assert done.returncode == 0, done.stderr
        yield home


def test_preprocessing_is_on_cpu_nodes_and_training_on_gpu_nodes(
    home: Home, tmp_path: Path
) -> None:
    write_rows(tmp_path / "rows", 240)
    job = write_job(
        tmp_path / "job.yaml",
        runtime={"address": str(home.record()["address"])},
        dataset={"train": {"paths": str(tmp_path / "rows")}},
        scaling={"workers": 2, "labels": {"role": "training"}, "preprocessing": {"workers": 2}},
    )
    done = home.orchestrator("run", str(job))
    assert done.returncode == 0, done.stdout + done.stderr
    events = read_json_lines(tmp_path / "runs" / "job" / "events.jsonl")
    (placed,) = [cast("dict[str, Any]", event) for event in events if event["event"] == "placed"]
    labels = placed["labels"]
    assert sum(placed["training"].values()) == 2
    assert {labels[node]["role"] for node in placed["training"]} == {"training"}
    assert sum(placed["preprocessing"].values()) == 2
    assert {labels[node]["role"] for node in placed["preprocessing"]} == {"preprocessing"}
    status = home.status()
    there = {node["id"] for node in cast("list[dict[str, Any]]", status["nodes"])}
    assert {*placed["training"], *placed["preprocessing"]} <= there
    shown = home.orchestrator("show", str(tmp_path / "runs" / "job"))
    assert shown.returncode == 0, shown.stderr
    audit = home.orchestrator("audit", str(tmp_path / "runs" / "job"))
    assert audit.returncode == 0, audit.stdout
