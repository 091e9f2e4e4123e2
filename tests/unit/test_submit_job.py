"""A job on its way: which cluster, where its data lies, its command, how it stands."""

import json
import socket
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from orchestrator.errors import ClusterError, JobFailedError, SpecError
from orchestrator.redaction.process import forget
from orchestrator.spec.job import JobSpec
from orchestrator.spec.load import load_job
from orchestrator.submit import address
from orchestrator.submit.address import choose_target
from orchestrator.submit.client import _next_number, _refuse_second
from orchestrator.submit.lookup import find_job, look_up
from orchestrator.submit.package import SPEC_FILE, contents_of
from orchestrator.submit.placing import placed, run_dir_of
from orchestrator.submit.render import job_json, render_job, render_jobs
from orchestrator.submit.status import JobStatus, job_status
from orchestrator.submit.submission import DRIVER_STARTS, prepared

TASK = "class Task:\n    pass\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ORCHESTRATOR_HOME", str(tmp_path / "home"))
    yield
    forget()  # the tokens and secrets that a test has made up


def job(folder: Path, **sections: object) -> JobSpec:
    code = folder / "code"
    code.mkdir(exist_ok=True)
    (code / "mine.py").write_text(TASK)
    content = {
        "name": "one",
        "dataset": {"train": {"paths": "rows"}},
        "training": {"task": "mine:Task", "epochs": 1, "global_batch_size": 4},
        **sections,
    }
    (code / "job.yaml").write_text(yaml.safe_dump(content))
    return load_job(code / "job.yaml")


def status(number: int = 1, **changes: object) -> JobStatus:
    made = job_status(
        f"one@{number}",
        state="RUNNING",
        metadata={"orchestrator.run": "one", "orchestrator.run_dir": "/runs/one"},
        exit_code=None,
        message=None,
        started_ms=1000 * number,
        ended_ms=None,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


# --- Which cluster


def test_without_a_cluster_it_is_said_how_to_make_one() -> None:
    with pytest.raises(ClusterError, match="no cluster to submit to") as caught:
        choose_target(None, {})
    assert "orchestrator cluster up" in str(caught.value.hint)
    assert caught.value.exit_code == 3


def test_the_option_comes_before_the_environment_which_comes_as_ray_reads_it() -> None:
    environ = {"RAY_API_SERVER_ADDRESS": "http://b:1", "RAY_ADDRESS": "http://c:1"}
    assert choose_target("http://a:1/", environ).url == "http://a:1"
    assert choose_target(None, environ).url == "http://b:1"
    assert choose_target(None, {"RAY_ADDRESS": "c:1"}).url == "http://c:1"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("ray://head:10001", "wanted the URL of a dashboard"),
        ("http://user:secret@head:1", "wanted no credentials"),
        ("http://head:99999", "wanted a port up to 65535"),
    ],
)
def test_an_address_that_is_none_is_told(given: str, message: str) -> None:
    with pytest.raises(ClusterError, match=message) as caught:
        choose_target(given, {})
    assert "secret" not in str(caught.value)


def test_a_token_goes_where_it_is_asked_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("of-the-home-folder\n")
    (tmp_path / "token").write_text("of-a-file\n")
    far, near = "http://10.1.2.3:8265", "http://127.0.0.1:8265"
    assert choose_target(far, {}).token is None
    assert choose_target(near, {}).token == "of-the-home-folder"
    assert choose_target(far, {"RAY_AUTH_MODE": "token"}).token == "of-the-home-folder"
    assert choose_target(near, {"RAY_AUTH_MODE": "disabled"}).token is None
    path = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    assert choose_target(far, path).token == "of-a-file"
    assert choose_target(far, path | {"RAY_AUTH_TOKEN": "given"}).token == "given"
    assert "given" not in repr(choose_target(far, {"RAY_AUTH_TOKEN": "given"}))
    with pytest.raises(ClusterError, match="cannot be read"):
        choose_target(far, {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")})


def test_what_listens_here_and_is_no_dashboard_is_taken_for_the_end_of_a_tunnel() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not choose_target(f"http://127.0.0.1:{port}", {}).here
    assert not address._is_here("10.255.255.1", 80)


# --- Where it lies


def test_on_this_machine_data_and_runs_stay_where_they_are(tmp_path: Path) -> None:
    spec = placed(job(tmp_path), here=True)
    assert spec.runtime.working_dir == "."
    assert spec.runtime.address == "auto"
    assert spec.runtime.data_root == str(tmp_path / "code")
    assert run_dir_of(spec) == tmp_path / "code" / "runs" / "one"


def test_elsewhere_a_run_in_the_package_is_refused_and_a_shared_folder_is_not(
    tmp_path: Path,
) -> None:
    with pytest.raises(SpecError, match=r'checkpoint\.storage: "runs" would lie in the job') as e:
        placed(job(tmp_path), here=False)
    assert "runtime.data_dir" in str(e.value.hint)
    mirrored = job(tmp_path, checkpoint={"storage": "/mnt/runs", "mirror": "copies"})
    with pytest.raises(SpecError, match=r'checkpoint\.mirror: "copies"'):
        placed(mirrored, here=False)
    with pytest.raises(SpecError, match=r"runtime\.data_dir: got .* wanted an absolute path"):
        placed(job(tmp_path, runtime={"data_dir": "there"}), here=False)
    spec = placed(job(tmp_path, runtime={"data_dir": "/mnt/all"}), here=False)
    assert run_dir_of(spec) == Path("/mnt/all/runs/one")


def test_data_that_does_not_travel_is_refused_elsewhere(tmp_path: Path) -> None:
    spec = job(tmp_path, checkpoint={"storage": "/mnt/runs"})
    with pytest.raises(SpecError, match=r'dataset\.train\.paths: "rows" is not in the package'):
        prepared(spec, here=False).__enter__()
    rows = tmp_path / "code" / "rows"
    rows.mkdir()
    (rows / "a.parquet").write_bytes(b"rows")
    with prepared(spec, here=False) as submission:
        assert "rows/a.parquet" in _names(submission.package)
    with prepared(spec, here=True) as submission:
        assert "rows/a.parquet" not in _names(submission.package)


def test_code_that_stays_behind_is_named(tmp_path: Path) -> None:
    spec = job(tmp_path)
    (tmp_path / "code" / ".gitignore").write_text("mine.py\n")
    with pytest.raises(SpecError, match=r"mine:Task: mine\.py is left out of the package"):
        prepared(spec, here=True).__enter__()


# --- What is submitted


def test_the_job_runs_the_packed_spec_under_a_supervisor(tmp_path: Path) -> None:
    with prepared(job(tmp_path), here=True, fresh=True) as submission:
        assert submission.entrypoint.endswith(f" -m orchestrator run --fresh -- {SPEC_FILE}")
        assert submission.runtime_env == {"working_dir": str(submission.package)}
        assert submission.metadata["orchestrator.run_dir"] == str(submission.run_dir)
        unpacked = tmp_path / "unpacked"
        _unpack(submission.package, unpacked)
    assert not submission.package.exists()
    there = load_job(unpacked / SPEC_FILE)
    assert there.failure.restart_driver == DRIVER_STARTS
    assert there.runtime.working_dir == str(unpacked)
    assert run_dir_of(there) == submission.run_dir


def test_the_value_of_a_variable_does_not_travel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "hush-hush-4711")
    task = {"task": "mine:Task", "with": {"key": "${env:MY_KEY}"}}
    spec = job(tmp_path, training={**task, "epochs": 1, "global_batch_size": 4})
    assert spec.training.with_ == {"key": "hush-hush-4711"}
    with prepared(spec, here=True) as submission:
        unpacked = _unpack(submission.package, tmp_path / "unpacked")
        told = json.dumps([submission.entrypoint, dict(submission.metadata)])
    texts = [told, *(path.read_text() for path in unpacked.rglob("*.*"))]
    assert not [text for text in texts if "hush" in text]
    assert "${env:MY_KEY}" in (unpacked / SPEC_FILE).read_text()


def test_a_spec_that_wants_no_supervisor_gets_none(tmp_path: Path) -> None:
    with prepared(job(tmp_path, failure={"restart_driver": 0}), here=True) as submission:
        _unpack(submission.package, tmp_path / "unpacked")
    assert load_job(tmp_path / "unpacked" / SPEC_FILE).failure.restart_driver == 0


def test_numbers_go_on_and_a_second_job_of_a_run_is_refused(tmp_path: Path) -> None:
    jobs = [status(1, word="finished"), status(9, word="failed"), status(3, job="one@x")]
    assert _next_number("one", jobs) == "one@10"
    assert _next_number("on", jobs) == "on@1"
    with prepared(job(tmp_path), here=True) as submission:
        mine = status(4, run_dir=submission.run_dir)
        _refuse_second(submission, [*jobs, replace(mine, word="stopped")])
        for word in ("pending", "running"):
            with pytest.raises(JobFailedError, match="by the job one@4") as caught:
                _refuse_second(submission, [*jobs, replace(mine, word=word)])  # type: ignore[arg-type]
        assert "orchestrator stop one" in str(caught.value.hint)


# --- How it stands


@pytest.mark.parametrize(
    ("state", "exit_code", "word", "code"),
    [
        ("PENDING", None, "pending", 1),
        ("SUCCEEDED", 0, "finished", 0),
        ("FAILED", 5, "failed", 5),
        ("FAILED", None, "failed", 1),
        ("FAILED", -9, "failed", 1),
        ("FAILED", 137, "failed", 1),
        ("FAILED", 130, "interrupted", 130),
        ("STOPPED", None, "stopped", 130),
    ],
)
def test_a_job_is_told_in_our_words(
    state: str, exit_code: int | None, word: str, code: int
) -> None:
    made = job_status(
        "a",
        state=state,
        metadata=None,
        exit_code=exit_code,
        message=None,
        started_ms=None,
        ended_ms=None,
    )
    assert (made.word, made.code, made.run) == (word, code, None)


def test_a_name_means_the_newest_job_of_its_run_and_a_number_that_one() -> None:
    jobs = [status(1, word="finished"), status(2), status(1, job="other@1", run="other")]
    assert find_job("one", jobs) == jobs[1]
    assert find_job("one@1", jobs) == jobs[0]
    assert find_job("two", jobs) is None


def test_jobs_are_lines_and_json() -> None:
    done = status(1, word="failed", exit_code=5, ended_at=61.0)
    lines = render_jobs([done, status(2)], now=62.0).splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["job", "run", "status"],
        ["one@1", "one", "failed"],
        ["one@2", "one", "running"],
    ]
    assert render_job(done, now=62.0) == "job one@1  failed with exit code 5  after 1m"
    waiting = status(3, word="pending", message="no node\nfits", started_at=None)
    assert render_job(waiting, now=62.0) == "job one@3  pending\n  no node"
    assert json.loads(json.dumps(job_json(done)))["run_dir"] == "/runs/one"


def test_a_name_that_means_nothing_is_told_with_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r'no job "one" \(no cluster is reached\), and no run'):
        look_up("one", address=None, storage=tmp_path, environ={})


def test_a_cluster_that_was_asked_for_has_to_answer(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"no cluster answers at http://127\.0\.0\.1:1"):
        look_up("one", address="http://127.0.0.1:1", storage=tmp_path, environ={})


def _names(package: Path) -> list[str]:
    return [file.name for file in contents_of(_unpack(package, package.parent / "there")).files]


def _unpack(package: Path, folder: Path) -> Path:
    with zipfile.ZipFile(package) as content:
        content.extractall(folder)
    return folder
