"""`orchestrator cluster` where nothing is started: its options, and what it says of mistakes."""

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli.cluster import ACTIONS
from orchestrator.cli.main import main


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORCHESTRATOR_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["up", "--cpu-nodes", "two"], '--cpu-nodes: got "two", wanted a number of nodes'),
        (["up", "--gpu-nodes", "0..2"], "hint: with --autoscale nodes come and go within a range"),
        (["up", "--cpus-per-node", "0"], '--cpus-per-node: got "0"'),
        (["up", "--name", "Mine"], '--name: got "Mine"'),
        (["status"], "hint: orchestrator cluster up starts one"),
        (["status", "--name", "mine"], 'no local cluster "mine" runs (running: none)'),
        (["down"], 'no local cluster "local" is there (there: none)'),
        (["down", "--name", "../up"], '--name: got "../up"'),
        (["node", "add", "cpu"], "no local cluster runs"),
        (["node", "remove", "abc"], "no local cluster runs"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_written(
    home: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    assert main(["cluster", *options]) == 3
    assert told in capsys.readouterr().err
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "the following arguments are required: ACTION"),
        (["upp"], "invalid choice: 'upp'"),
        (["node"], "the following arguments are required"),
        (["node", "add", "tpu"], "invalid choice: 'tpu'"),
        (["down", "--all", "--name", "mine"], "not allowed with"),
    ],
)
def test_what_is_no_command_is_refused(
    capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    assert main(["cluster", *options]) == 2
    assert told in capsys.readouterr().err


def test_without_clusters_all_of_them_are_down(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cluster", "down", "--all"]) == 0
    assert capsys.readouterr().out == "no local cluster runs\n"


def test_no_action_waits_for_ray_to_tell_its_options() -> None:
    code = (
        "import sys; from orchestrator.cli.main import main\n"
        f"codes = [main(['cluster', action, '--help']) for action in {list(ACTIONS)!r}]\n"
        "sys.exit(any(codes) or bool({'ray', 'torch'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
