"""`orchestrator schema`."""

import json

import pytest

from orchestrator.cli.main import main
from orchestrator.spec.schema import json_schema, markdown


def test_the_schema_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


def test_the_reference_is_printed_as_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--markdown"]) == 0
    assert capsys.readouterr().out == markdown()
