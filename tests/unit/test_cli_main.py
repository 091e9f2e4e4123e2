"""Finding the verb, and turning errors into exit codes."""

import argparse
import re
import sys
from types import ModuleType

import pytest

from orchestrator.cli.main import VERBS, main
from orchestrator.errors import ClusterError, JobFailedError


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A verb "act" whose `outcome` the test sets: what it returns, or an exception."""
    module = ModuleType("orchestrator.cli.act")

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--long-option")

    def run(args: argparse.Namespace) -> int:
        if isinstance(module.outcome, BaseException):
            raise module.outcome
        return int(module.outcome)

    module.add_arguments, module.run = add_arguments, run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "orchestrator.cli.act", module)
    monkeypatch.setitem(VERBS, "act", ("orchestrator.cli.act", "do something"))
    return module


@pytest.mark.parametrize(
    ("outcome", "code", "message"),
    [
        (0, 0, ""),
        (7, 7, ""),
        (JobFailedError("it broke"), 1, "error: it broke\n"),
        (ClusterError("no ray", hint="start it"), 3, "error: no ray\nhint: start it\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_the_exit_code_is_that_of_the_outcome(
    verb: ModuleType,
    capsys: pytest.CaptureFixture[str],
    outcome: object,
    code: int,
    message: str,
) -> None:
    verb.outcome = outcome  # type: ignore[attr-defined]
    assert main(["act"]) == code
    assert capsys.readouterr().err == message


def test_a_defect_is_not_hidden(verb: ModuleType) -> None:
    verb.outcome = ZeroDivisionError("a defect")  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError, match="a defect"):
        main(["act"])


@pytest.mark.usefixtures("verb")
@pytest.mark.parametrize("arguments", [["act", "--nope"], ["act", "--long", "x"], ["act", "extra"]])
def test_wrong_arguments_exit_with_2_and_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "usage: orchestrator act" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vaildate"], 'error: no verb "vaildate"; did you mean "validate"? (verbs: run, runs,'),
        (["xyz"], 'error: no verb "xyz" (verbs: '),
        (["--quiet", "run"], 'error: no verb "--quiet"'),
    ],
)
def test_an_unknown_verb_names_the_nearest(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith(message)


def test_help_lists_the_verbs_and_no_arguments_are_a_usage_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in VERBS)
    assert main([]) == 2


def test_the_help_of_a_verb_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--help"]) == 0
    assert "usage: orchestrator schema" in capsys.readouterr().out


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"orchestrator \d+\.\d+\.\d+\n", capsys.readouterr().out)
