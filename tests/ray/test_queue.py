"""A queue on a real cluster: one job at a time, by priority, whoever is killed in between."""

import os
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from orchestrator.jsonl import read_json_lines
from tests.support.data import write_rows
from tests.support.jobs import Submitted
from tests.support.local_clusters import Home, clusters_home, processes_of, wait_for
from tests.support.runs import ROOT, write_job

pytestmark = [pytest.mark.timeout(500), pytest.mark.slow]


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with clusters_home() as home:
        up = home.orchestrator("cluster", "up", "--cpu-nodes", "2", "--gpu-nodes", "0")
        assert up.returncode == 0, up.stderr
        yield home


def runner_of(home: Home) -> psutil.Process | None:
    for process in processes_of(home.record()):
        try:
            command = process.cmdline()
        except psutil.NoSuchProcess:
            continue
        if "orchestrator.submit.queue_runner" in command:
            return process
    return None


def test_jobs_run_one_at_a_time_by_priority_though_the_runner_is_killed(
    home: Home, tmp_path: Path
) -> None:
    write_rows(tmp_path / "train", 120)
    job = write_job(
        tmp_path / "job.yaml",
        runtime={"working_dir": str(ROOT), "data_dir": str(tmp_path)},
        dataset={"train": {"paths": "train"}},
        scaling={"workers": 1, "preprocessing": {"workers": 1}},
        checkpoint={"storage": "runs"},
    )

    def submit(name: str, *options: str) -> None:
        done = home.orchestrator("submit", str(job), "--name", name, "--queue", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{name}  in the queue, place" in done.stdout

    one, two, three = (Submitted(home, job, name) for name in ("one", "two", "three"))
    submit("one")
    wait_for(lambda: "one@1" in home.orchestrator("jobs").stdout, what="the first job has started")
    submit("two")
    submit("unwanted")
    submit("three", "--priority", "7")
    listed = home.orchestrator("jobs").stdout
    assert "(priority 7)" in listed
    assert "queued" in listed
    assert "out of the queue" in Submitted(home, job, "unwanted").command("stop")
    runner = runner_of(home)
    assert runner is not None
    os.kill(runner.pid, signal.SIGKILL)
    # Who submits next has another one at work, for all that wait.
    wait_for(lambda: runner_of(home) is None, what="the runner is gone")
    submit("four", "--priority", "-1")
    four = Submitted(home, job, "four")
    assert four.wait_for_end_of_queue() == "finished"
    times = {}
    for run in (one, two, three, four):
        events = cast("list[dict[str, Any]]", read_json_lines(run.run.dir / "events.jsonl"))
        kinds = [event["event"] for event in events]
        assert kinds.count("attempt-started") == 1
        times[run.name] = (events[0]["time"], events[-1]["time"])
    order = sorted(times, key=lambda name: times[name][0])
    assert order == ["one", "three", "two", "four"]
    for before, after in pairwise(order):
        assert times[before][1] <= times[after][0]
    assert not (tmp_path / "runs" / "unwanted").exists()
    wait_for(lambda: runner_of(home) is None, what="the runner ends with the queue")
