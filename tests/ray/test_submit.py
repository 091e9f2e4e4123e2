"""Jobs on a real cluster: submitted, followed, stopped at a checkpoint, submitted again."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.submit.address import choose_target
from orchestrator.submit.client import JobClient
from orchestrator.submit.lookup import Found
from orchestrator.submit.stopping import stop_in_order
from tests.support.data import write_rows
from tests.support.jobs import Submitted
from tests.support.local_clusters import Home, clusters_home
from tests.support.runs import ROOT, Run, write_job

pytestmark = pytest.mark.timeout(500)
STEPS = 28


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with clusters_home() as home:
        up = home.orchestrator("cluster", "up", "--cpu-nodes", "2", "--gpu-nodes", "0")
        assert up.returncode == 0, up.stderr
        yield home


@pytest.fixture
def job(tmp_path: Path) -> Path:
    # 331 rows: 14 steps an epoch.
    write_rows(tmp_path / "train", 331)
    return write_job(
        tmp_path / "job.yaml",
        runtime={"working_dir": str(ROOT), "data_dir": str(tmp_path)},
        dataset={"train": {"paths": "train"}},
        training={"task": "tests.support.task:SmallTask", "with": {"step_s": 0.2}},
        scaling={"workers": 2, "preprocessing": {"workers": 1}},
        checkpoint={"storage": "runs", "every": "5 steps"},
    )


def test_a_followed_job_shows_what_it_prints_and_ends_as_it_ends(home: Home, job: Path) -> None:
    one = Submitted(home, job, "followed")
    done = home.orchestrator(
        "submit", str(job), "--name", "followed", "--follow", "--set", "training.with.step_s=0"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "followed  submitted as followed@1 to local (http://127.0.0.1:" in done.stdout
    assert f"step {STEPS}  finished" in done.stdout
    assert "\x1b[" not in done.stdout
    assert "the job followed@1 has finished" in done.stderr
    # The supervisor has a driver, and the run lies where the client's data do.
    assert one.status()["run"]["status"] == "finished"
    ranks = [one.command("logs", "--rank", str(rank)) for rank in (0, 1, 2)]
    assert "rank 0 of 2 begins, attempt 1" in ranks[0]
    assert "rank 1 of 2 begins, attempt 1" in ranks[1]
    assert ranks[2] == ""
    audit = home.orchestrator("audit", str(one.run.dir))
    assert audit.returncode == 0, audit.stdout
    # The order is that of the same job without a cluster: nothing has become relative to a package.
    here = Run(job, "followed")
    assert "already finished" in here.complete("training.with.step_s=0")


@pytest.mark.slow
def test_a_job_that_fails_gives_its_exit_code(home: Home, job: Path) -> None:
    done = home.orchestrator(
        "submit", str(job), "--name", "fails", "--follow", "--set", "dataset.train.paths=gone"
    )
    assert done.returncode == 5, done.stdout + done.stderr
    assert "gone does not exist" in done.stdout
    assert "the job fails@1 has failed" in done.stderr


@pytest.mark.slow
def test_a_stopped_job_has_saved_and_the_next_one_goes_on_to_the_same_bits(
    home: Home, job: Path
) -> None:
    undisturbed, one = Run(job, "undisturbed"), Submitted(home, job, "stopped")
    undisturbed.complete("training.with.step_s=0")
    assert one.submit() == "stopped@1"
    one.wait_for_step(7)
    refused = one.submit(code=1)
    assert "the run stopped is being trained already, by the job stopped@1 (running)" in refused
    printed = one.command("stop")
    found = re.search(r"stopped has stopped; its newest checkpoint is step-0*(\d+)-001", printed)
    assert found is not None, printed
    # It is the one of the stop, and not the last of those that the spec asks for.
    assert int(found[1]) >= one.run.step()
    assert one.wait_for_end() == "interrupted"
    assert "stopped is not running" in one.command("stop")
    assert one.submit() == "stopped@2"
    assert one.wait_for_end() == "finished"
    (first, second) = one.run.attempts()
    assert second["parent"] == first["number"]
    assert second["step"] == int(found[1])
    assert one.run.losses() == undisturbed.losses()
    assert one.run.state_digest() == undisturbed.state_digest()
    # Its log is there without the cluster, too.
    stored = subprocess.run(
        [sys.executable, "-m", "orchestrator", "logs", str(one.run.dir), "--rank", "1"],
        env={**home.environment, "ORCHESTRATOR_HOME": str(job.parent / "no-clusters")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "rank 1 of 2 begins, attempt 1" in stored
    assert "rank 1 of 2 begins, attempt 2" in stored


@pytest.mark.slow
def test_ctrl_c_leaves_a_followed_job_alone_and_now_ends_it(home: Home, job: Path) -> None:
    one = Submitted(home, job, "left")
    follower = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "submit", str(job), "--name", "left", "--follow"],
        env=home.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    one.wait_for_step(2)
    follower.send_signal(signal.SIGINT)
    _, complained = follower.communicate(timeout=30)
    assert follower.returncode == 130
    assert "detached: the job left@1 goes on" in complained
    assert "orchestrator logs -f left" in complained
    assert one.status()["job"]["status"] == "running"
    step = one.run.step()
    one.wait_for_step(step + 1)
    assert "left has stopped" in one.command("stop", "--now")
    assert one.status()["job"]["status"] == "stopped"


@pytest.mark.slow
def test_a_run_without_a_cluster_is_stopped_in_the_same_way(home: Home, job: Path) -> None:
    run = Run(job, "alone")
    driver = run.start()
    driver.wait_for_step(3)
    stopped = home.orchestrator("stop", "alone", "--storage", str(run.dir.parent))
    assert stopped.returncode == 0, stopped.stderr
    assert "to save and end" in stopped.stdout
    assert "alone has stopped; its newest checkpoint is step-" in stopped.stdout
    driver.finish(code=130)
    assert run.events("interrupted")


@pytest.mark.slow
def test_a_run_that_is_not_to_be_seen_from_here_is_asked_on_the_cluster(
    home: Home, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Submitted(home, job, "unseen")
    one.submit()
    one.wait_for_step(3)
    monkeypatch.setenv("ORCHESTRATOR_HOME", str(home.folder))
    target = replace(choose_target(None, {}), here=False)
    client = JobClient(target)
    found = Found(job=client.status("unseen@1"), client=client, directory=None)
    said: list[str] = []
    stop_in_order(found, say=said.append)
    assert said == [f"asking the cluster to stop the run in {one.run.dir}"]
    assert client.status("unseen@1").word == "interrupted"
    assert one.run.events("interrupted")


def test_mistakes_are_told_before_anything_is_submitted(home: Home, job: Path) -> None:
    one = Submitted(home, job, "mistaken")
    assert "the biggest:\n" in one.submit("--package-limit", "10KiB", code=2)
    assert 'did you mean "epochs"?' in one.submit("--set", "training.epoch=2", code=2)
    token = job.parent / "token"
    token.write_text("not-it")
    url = str(home.record()["dashboard"])
    environment = {**home.environment, "ORCHESTRATOR_HOME": str(job.parent / "none")}
    for variables, message in (
        ({"RAY_AUTH_TOKEN_PATH": str(token)}, "refuses the token"),
        ({"RAY_AUTH_MODE": "disabled"}, "wants a token"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator", "jobs", "--address", url],
            env={**environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 3
        assert f"error: the cluster at {url} {message}" in done.stderr
        assert "RAY_AUTH_TOKEN_PATH" in done.stderr
