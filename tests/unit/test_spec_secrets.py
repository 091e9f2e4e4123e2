"""What a spec passes on from the environment is written as the variable, and known to writers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.redaction import process
from orchestrator.spec.environment import Unfilled
from orchestrator.spec.load import dump_job, load_job

JOB = """\
name: job-${env:WHO}
dataset: {train: {paths: "${env:DATA}/train"}}
transforms:
  - {use: "mine:f", with: {password: "${env:PASS_WORD}", uri: "s3://AKIA77:s3cret9@b/x"}}
training: {task: "mine:T", epochs: 1, global_batch_size: 8, with: {rows: "${env:ROWS}"}}
checkpoint: {storage: "${env:HOME}/runs"}
"""
ENVIRON = {
    "WHO": "anna-maria",
    "DATA": "/secret-place",
    "PASS_WORD": "hunter2hunter2",
    "ROWS": "100000",
    "HOME": "/home/anna",
}


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    process.forget()
    yield
    process.forget()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "spec.yaml").write_text(JOB)
    return tmp_path / "spec.yaml"


def test_what_is_passed_on_is_hidden_and_the_place_of_the_run_is_not(file: Path) -> None:
    spec = load_job(file, environ=ENVIRON)
    assert set(spec.variables) == {"DATA", "PASS_WORD"}
    shown = process.redact("hunter2hunter2 in /secret-place/train, 100000 rows, /home/anna s3cret9")
    assert shown == "${env:PASS_WORD} in ${env:DATA}/train, 100000 rows, /home/anna ***"


def test_the_dump_has_the_variables_and_reads_back_with_them(file: Path, tmp_path: Path) -> None:
    spec = load_job(file, environ=ENVIRON)
    text = dump_job(spec)
    for secret in ("hunter2", "secret-place", "s3cret9"):
        assert secret not in text
    assert "${env:DATA}/train" in text
    (tmp_path / "job.yaml").write_text(text)
    again = load_job(tmp_path / "job.yaml", environ=ENVIRON)
    assert again.dataset == spec.dataset
    assert again.transforms[0].with_["password"] == "hunter2hunter2"
    assert again.variables == spec.variables
    # Who wants only a setting needs none of them.
    assert load_job(tmp_path / "job.yaml", environ=Unfilled()).name == "job-anna-maria"


def test_an_error_does_not_quote_a_variable(file: Path) -> None:
    bad = f"checkpoint.every={ENVIRON['PASS_WORD']}"
    with pytest.raises(SpecError) as caught:
        load_job(file, overrides=[bad], environ=ENVIRON)
    assert "hunter2" not in f"{caught.value} {caught.value.problems}"
