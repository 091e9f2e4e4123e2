"""What a spec may ask of its environment: variables by reference, exact pins, nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.redaction import process
from orchestrator.spec.load import dump_job, load_job
from orchestrator.spec.requirements import check_requirement, read_requirements
from orchestrator.spec.variables import hidden_variables, open_variables, problem_of_name

JOB = """\
name: job
dataset: {train: {paths: data}}
training: {task: "mine:T", epochs: 1, global_batch_size: 8}
"""


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    process.forget()
    yield
    process.forget()


def load(folder: Path, runtime: str, **environ: str):  # type: ignore[no-untyped-def]
    file = folder / "job.yaml"
    file.write_text(f"{JOB}runtime:\n  {runtime}\n")
    return load_job(file, environ=environ)


PINS = [
    "einops==0.8.1",
    "a==1",
    "My_Pkg.x[extra,two]==1.2.3rc1+cpu",
    f"a==1 --hash=sha256:{'0' * 64}",
]


@pytest.mark.parametrize("text", [*PINS, "requirements.txt", "deploy/requirements-gpu.txt"])
def test_exact_pins_and_files_below_the_directory_are_taken(text: str) -> None:
    assert check_requirement(text) == text


HOSTILE = [
    "einops", "einops>=0.8", "einops==0.*", "einops==", "==1", "--index-url=http://x/y", "-e .",
    "-r other.txt", "git+https://x/y.git", "a @ https://x/y.whl", "http://x/y.whl", "./a.whl",
    "/tmp/a.txt", "../a.txt", "a/../../b.txt", "~/a.txt", "a==1; os_name=='posix'", "a==1;id",
    "a==1 && id", "a==1\n-e .", "a==1 --index-url http://x", "a==$(id)", "a==1 -e .", "a==`id`",
    "a==1 --hash=md5:00", "a.txt\n", "-a.txt", "", " ", "a ==1", "\u0430==1", "a==1\0",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_else_pip_would_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="wanted an exact pin"):
        check_requirement(text)


@pytest.mark.parametrize("text", ["ray==2.9.0", "Ray==2.60.0", "training_orchestrator==1"])
def test_what_the_cluster_has_is_not_replaced(text: str) -> None:
    with pytest.raises(ValueError, match="a job runs with the one that its cluster has"):
        check_requirement(text)


def test_a_requirements_file_has_pins_comments_and_lines_that_go_on(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    hashed = f"b==2 --hash=sha256:{'1' * 64}"
    file.write_text(
        f"# mine\na==1  # one\n\n{hashed.replace(' --', ' ' + chr(92) + chr(10) + '  --')}\n"
    )
    assert read_requirements(file) == ("a==1", hashed)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a==1\n--index-url http://x\n", r':2: got "--index-url http://x", wanted an exact pin'),
     ("-r x.txt", r":1: got"), ("a \\\n@ http://x", r":2: got"), ("a==1 \\", "ends"),
     ("\xff", "UTF-8")],
)  # fmt: skip
def test_a_requirements_file_with_anything_else_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "requirements.txt"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(SpecError, match=message):
        read_requirements(file)
    with pytest.raises(SpecError, match="cannot be read"):
        read_requirements(tmp_path / "none.txt")


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "WANDB_API_KEY", "OMP_NUM_THREADS", "NCCL_DEBUG", "x"]
)
def test_plain_names_may_be_set(name: str) -> None:
    assert problem_of_name(name) is None


@pytest.mark.parametrize(
    "name",
    ["LD_PRELOAD", "ld_preload", "PYTHONPATH", "PYTHONSTARTUP", "RAY_AUTH_TOKEN", "RAY_ADDRESS",
     "PATH", "ORCHESTRATOR_SECRET_FILE", "PIP_INDEX_URL", "BASH_ENV", "HTTPS_PROXY", "https_proxy",
     "NCCL_NET_PLUGIN", "AWS_CONFIG_FILE", "GIT_SSH_COMMAND", "A-B", "1A", "A B", "", "A=B", "A\n"],
)  # fmt: skip
def test_names_that_decide_which_code_is_loaded_are_refused(name: str) -> None:
    assert problem_of_name(name) is not None


def test_a_refused_name_and_a_wrong_pin_are_told_with_their_place(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load(tmp_path, "env: {LD_PRELOAD: /tmp/x.so, FINE: a}\n  pip: [einops]")
    first, second = caught.value.problems
    assert "job.yaml:5:9: runtime.env.LD_PRELOAD: a job may not set this variable" in first
    assert 'job.yaml:6:9: runtime.pip.0: got "einops", wanted an exact pin' in second


def test_a_secret_in_the_spec_itself_is_refused_without_being_quoted(tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match=r"runtime.env.HF_TOKEN: its name says .*\$\{env:HF_"
    ) as caught:
        load(tmp_path, "env: {HF_TOKEN: hf_4711secret, MAX_TOKENS: '512'}")
    assert "4711" not in str(caught.value)


def test_secrets_by_reference_are_hidden_and_settings_are_open(tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.write_text("from-a-file-77\n")
    runtime = f'env: {{A: "${{env:VALUE}}", B: "${{file:{held}}}", C: plain, D: "${{env:N}}"}}'
    spec = load(tmp_path, runtime, VALUE="value-4711", N="8")
    assert spec.runtime.env == {"A": "value-4711", "B": "from-a-file-77", "C": "plain", "D": "8"}
    assert open_variables(spec.runtime.env) == {"C": "plain", "D": "8"}
    assert hidden_variables(spec.runtime.env).keys() == {"A", "B"}
    dumped = dump_job(spec)
    assert "4711" not in dumped
    assert "from-a-file" not in dumped
    (tmp_path / "job.yaml").write_text(dumped)
    again = load_job(tmp_path / "job.yaml", environ={"VALUE": "value-4711"})
    assert again.runtime.env == spec.runtime.env


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (b"", "is empty"), (b"\xff", "UTF-8"), (b"x" * 70000, "larger"),
     (b"a\0b", "is no text")],
)  # fmt: skip
def test_a_file_that_holds_no_secret_is_told(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    held = tmp_path / "held"
    if content is not None:
        held.write_bytes(content)
    with pytest.raises(SpecError, match=rf"job.yaml:5:12: .*{message}"):
        load(tmp_path, f'env: {{A: "${{file:{held}}}"}}')
