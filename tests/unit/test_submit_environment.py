"""The runtime environment of a job: nothing of a spec gets into it that was not allowed."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.redaction import process
from orchestrator.spec.job import JobSpec
from orchestrator.spec.load import load_job
from orchestrator.submit.environment import runtime_environment, secret_paths, secret_variables
from orchestrator.submit.secret_file import (
    SECRET_FILE_VARIABLE,
    take_secret_file,
    write_secret_file,
)
from orchestrator.submit.submission import prepared


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    process.forget()
    yield
    process.forget()


def spec_with(folder: Path, runtime: str, **environ: str) -> JobSpec:
    (folder / "mine.py").write_text("class T: ...\n")
    file = folder / "job.yaml"
    file.write_text(
        "name: job\ndataset: {train: {paths: rows}}\n"
        'training: {task: "mine:T", epochs: 1, global_batch_size: 8}\n'
        f"runtime: {{{runtime}}}\n"
    )
    return load_job(file, environ=environ)


def test_packages_need_trust(tmp_path: Path) -> None:
    spec = spec_with(tmp_path, "pip: [einops==0.8.1, more.txt]")
    (tmp_path / "more.txt").write_text("b==2\n")
    with pytest.raises(SpecError, match=r"runtime.pip: .*einops==0.8.1, more.txt") as caught:
        runtime_environment(spec, trust=False)
    assert caught.value.hint is not None
    assert "--trust" in caught.value.hint
    pip = runtime_environment(spec, trust=True)["pip"]
    assert isinstance(pip, dict)
    assert pip["packages"] == ["einops==0.8.1", "b==2"]
    assert "--only-binary=:all:" in pip["pip_install_options"]


def test_trust_does_not_open_a_file_with_options(tmp_path: Path) -> None:
    spec = spec_with(tmp_path, "pip: more.txt")
    (tmp_path / "more.txt").write_text("--extra-index-url http://x\n")
    with pytest.raises(SpecError, match="wanted an exact pin"):
        runtime_environment(spec, trust=True)


def test_only_known_fields_of_rays_environment_are_ever_made(tmp_path: Path) -> None:
    spec = spec_with(tmp_path, "env: {A: b}, pip: a==1")
    made = runtime_environment(spec, trust=True, package=tmp_path / "p.zip")
    assert made.keys() == {"env_vars", "pip", "working_dir"}
    assert made["env_vars"] == {"A": "b"}
    assert runtime_environment(spec_with(tmp_path, ""), trust=False) == {}


@pytest.mark.parametrize(
    "field",
    ["conda", "container", "py_executable", "image_uri", "uv", "worker_process_setup_hook",
     "py_modules", "config"],
)  # fmt: skip
def test_other_fields_of_rays_environment_are_no_fields_of_a_spec(
    tmp_path: Path, field: str
) -> None:
    with pytest.raises(SpecError, match=f"runtime.{field}: unknown key"):
        spec_with(tmp_path, f"{field}: x")


def test_no_secret_is_in_what_the_job_server_gets(tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.write_text("held-4712\n")
    runtime = f'env: {{A: "${{env:VALUE}}", B: "${{file:{held}}}"}}, excludes: [held]'
    spec = spec_with(tmp_path, runtime, VALUE="value-4711")
    assert secret_variables(spec) == {"VALUE": "value-4711"}
    assert secret_paths(spec) == (str(held),)
    with prepared(spec, here=True) as submission:
        told = json.dumps(
            [submission.entrypoint, dict(submission.runtime_env), submission.metadata]
        )
        assert "4711" not in told
        assert "4712" not in told
        variables = submission.runtime_env["env_vars"]
        assert isinstance(variables, dict)
        file = Path(str(variables[SECRET_FILE_VARIABLE]))
        assert file.stat().st_mode & 0o777 == 0o600
        assert b"4711" not in submission.package.read_bytes()
        environ = dict(variables)
        take_secret_file(environ)
    assert environ == {"VALUE": "value-4711"}
    assert not file.exists()


def test_the_file_is_gone_where_the_job_is_refused(tmp_path: Path) -> None:
    spec = spec_with(tmp_path, 'env: {A: "${env:VALUE}"}', VALUE="value-4711")
    with pytest.raises(ConnectionError), prepared(spec, here=True):
        raise ConnectionError
    assert not list((tmp_path / "runs").iterdir())
    spec = spec_with(tmp_path, 'env: {A: "${env:VALUE}"}, data_dir: /shared', VALUE="value-4711")
    with prepared(spec, here=False) as submission:
        assert "env_vars" not in submission.runtime_env


def test_a_file_that_others_can_read_is_refused_and_one_that_is_gone_is_told(
    tmp_path: Path,
) -> None:
    file = write_secret_file(tmp_path / "secrets", {"A": "b"})
    file.chmod(0o644)
    with pytest.raises(SpecError, match="nobody else can read"):
        take_secret_file({SECRET_FILE_VARIABLE: str(file)})
    (tmp_path / "link").symlink_to(write_secret_file(tmp_path / "other", {"A": "b"}))
    for name in ("link", "none"):
        with pytest.raises(SpecError, match="cannot be read"):
            take_secret_file({SECRET_FILE_VARIABLE: str(tmp_path / name)})
    environ: dict[str, str] = {}
    take_secret_file(environ)
    assert environ == {}


def test_what_is_set_already_stays(tmp_path: Path) -> None:
    file = write_secret_file(tmp_path / "secrets", {"A": "new-value", "B": "other-value"})
    environ = {SECRET_FILE_VARIABLE: str(file), "A": "old"}
    take_secret_file(environ)
    assert environ == {"A": "old", "B": "other-value"}
    assert process.redact("other-value") == "${env:B}"
    assert "A" not in os.environ or os.environ["A"] != "new-value"
