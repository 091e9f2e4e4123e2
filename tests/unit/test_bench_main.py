"""python -m benchmarks and `orchestrator bench`: what is run, what is said, the exit code."""

import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.harness.record import read_records
from benchmarks.harness.registry import WORKLOADS
from orchestrator.cli import bench
from orchestrator.cli.main import main as orchestrator
from tests.support.outcomes import Broken, Toy


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, workload in (("toy", Toy()), ("broken", Broken())):
        monkeypatch.setitem(sys.modules, f"toys.{name}", workload)
        monkeypatch.setitem(WORKLOADS, name, f"toys.{name}")


def test_a_result_is_printed_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["toy", "--folder", str(tmp_path), "--rounds", "3"]) == 0
    shown = capsys.readouterr().out
    assert "toy: W0: a toy" in shown
    assert shown.endswith("MISSED  toy: ours / P1\n")
    (kept,) = read_records(tmp_path / "results").values()
    assert kept.command == "python -m benchmarks toy --rounds 3"
    assert f"commit {kept.commit}\n" in shown


def test_a_missed_target_fails_where_it_is_to(tmp_path: Path) -> None:
    assert main(["toy", "--folder", str(tmp_path), "--quick", "--check"]) == 1


def test_after_a_benchmark_that_fails_the_others_are_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["broken", "toy", "--folder", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert shown.err == "error: broken: ours: it broke\n"
    assert "FAILED  broken" in shown.out
    assert list(read_records(tmp_path / "results")) == ["toy"]


def test_an_unknown_benchmark_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tyo"]) == 2
    assert capsys.readouterr().err.startswith(
        'error: no benchmark "tyo"; did you mean "toy"? (benchmarks: '
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], '--rounds: got "0", wanted a whole number greater than 0'),
        (["--rounds", "few"], '--rounds: got "few", wanted a whole number'),
        (["--quick", "--write-docs"], "--write-docs: got --quick as well"),
    ],
)
def test_wrong_arguments_are_told(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["toy", *arguments])
    assert message in capsys.readouterr().err


def test_the_verb_runs_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    assert orchestrator(["bench", "--quick", "--rounds", "2", "nope"]) == 2
    assert capfd.readouterr().err.startswith('error: no benchmark "nope"')


def test_the_verb_needs_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    assert orchestrator(["bench"]) == 2
    assert f"error: no benchmarks beside the package in {tmp_path}" in capsys.readouterr().err
