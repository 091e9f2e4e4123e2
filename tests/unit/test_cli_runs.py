"""`orchestrator runs` and `orchestrator show`, on directories that no Ray has made."""

import json
import re
from pathlib import Path

import pytest

from orchestrator.cli.main import main
from orchestrator.run.describe import describe_run
from orchestrator.run.directory import open_run
from tests.support.training import make_plan


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`runs`, with the runs "digits" and "torn" and something else in it."""
    monkeypatch.chdir(tmp_path)
    plan = make_plan(tmp_path)
    directory = open_run(plan)
    describe_run(plan, directory)
    storage = directory.path.parent
    directory.path.rename(storage / "digits")
    (storage / "torn").mkdir()
    (storage / "torn" / "job.yaml").write_text("name: torn")
    (storage / "cache").mkdir()
    (storage / "file").touch()
    return storage


@pytest.mark.usefixtures("storage")
def test_runs_are_listed_and_a_damaged_one_does_not_hide_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines[1:3]} == {"digits", "torn"}
    assert any(re.match(r"digits  died +0/8 +0/2 +0 ", line) for line in lines)
    assert lines[-1].endswith("torn/plan.json is missing")
    assert main(["runs", "runs", "--json"]) == 0
    shown = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert shown.keys() == {"digits", "torn"}
    assert shown["torn"]["status"] == "damaged"


def test_a_folder_without_runs_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["runs"]) == 0
    assert capsys.readouterr().out == "no runs in runs\n"
    assert main(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs", "nowhere"], "no directory nowhere"),
        (["runs", "runs/digits"], "runs/digits is itself a run, and not a directory of runs"),
        (["show"], "which run? wanted RUN, its name or its directory"),
        (["show", "digit"], 'no run "digit" in runs; did you mean digits?'),
        (["show", "xyz"], 'no run "xyz" in runs'),
        (["show", "xyz", "--storage", "none"], 'no run "xyz" in none, and no other run either'),
        (["show", "runs/cache"], "runs/cache is a directory, but not that of a run"),
    ],
)
@pytest.mark.usefixtures("storage")
def test_what_is_no_run_is_named_with_the_nearest(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.splitlines()[0] == f"error: {message}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["digits"],
        ["runs/digits"],
        ["--name", "digits"],
        ["digits", "--storage", "runs"],
        ["--storage", "{storage}", "--name", "digits"],
        ["{storage}/digits"],
    ],
    ids=" ".join,
)
def test_a_run_is_found_by_its_name_and_by_its_directory(
    arguments: list[str], storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [argument.format(storage=storage) for argument in arguments]
    assert main(["show", *arguments]) == 0
    assert capsys.readouterr().out.startswith("digits  died\n")
    assert main(["show", *arguments, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["name"], shown["run_dir"]) == ("digits", str(storage / "digits"))


def test_the_run_one_stands_in_has_a_name(
    storage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(storage / "digits")
    assert main(["show", "."]) == 0
    assert capsys.readouterr().out.startswith("digits  died\n")


@pytest.mark.usefixtures("storage")
def test_a_damaged_run_is_an_error_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "torn"]) == 4
    assert "torn/plan.json is missing" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["runs", "show"])
def test_the_help_documents_the_keys_of_the_json(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, "--help"]) == 0
    assert "total_steps" in capsys.readouterr().out
