"""The description of specs for editors and readers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from jsonschema import Draft202012Validator

from orchestrator.spec.load import read_job
from orchestrator.spec.schema import json_schema, markdown
from orchestrator.spec.tree import plain
from orchestrator.spec.yaml_reader import read_yaml_file

ROOT = Path(__file__).parents[2]
JOBS = sorted((ROOT / "jobs").glob("*.yaml"))
SCHEMA_LINE = "# yaml-language-server: $schema=../docs/job.schema.json"


def test_the_committed_reference_is_current() -> None:
    committed = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    assert committed == markdown(), "run: make docs"


def test_the_committed_schema_is_current() -> None:
    committed = (ROOT / "docs" / "job.schema.json").read_text(encoding="utf-8")
    assert committed == json.dumps(json_schema(), indent=2) + "\n", "run: make docs"


@pytest.mark.parametrize("job", JOBS, ids=lambda path: path.name)
def test_each_job_names_the_schema_to_editors_and_follows_it(job: Path) -> None:
    first, _, _ = job.read_text(encoding="utf-8").partition("\n")
    assert first == SCHEMA_LINE
    assert (job.parent / SCHEMA_LINE.partition("=")[2]).is_file()
    mistakes = Draft202012Validator(json_schema()).iter_errors(plain(read_yaml_file(job)))
    assert [mistake.message for mistake in mistakes] == []
    read_job(job, environ={})


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("trainin: {}", "'trainin' was unexpected"),
        ("seed: many", "'many' is not of type 'integer'"),
        ("transforms: [{use: 'a:b', splits: [test]}]", "is not valid under any"),
    ],
)
def test_the_schema_tells_an_editor_of_mistakes(tmp_path: Path, text: str, mistake: str) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(text)
    schema = Draft202012Validator(json_schema())
    found = [error.message for error in schema.iter_errors(plain(read_yaml_file(file)))]
    assert any(mistake in message for message in found), found


def sections() -> Iterator[dict[str, object]]:
    schema = json_schema()
    yield schema
    for section in cast("dict[str, dict[str, object]]", schema["$defs"]).values():
        if "properties" in section:
            yield section


def test_each_field_says_what_it_is_in_a_sentence() -> None:
    found = 0
    for section in sections():
        for name, field in cast("dict[str, dict[str, str]]", section["properties"]).items():
            found += 1
            assert field["description"].endswith("."), f"{section['title']}.{name}"
    assert found > 60


def test_no_section_takes_unknown_keys() -> None:
    for section in sections():
        assert section["additionalProperties"] is False, section["title"]


def test_an_editor_learns_the_dialect_and_the_short_forms() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    properties = cast("dict[str, dict[str, object]]", schema["properties"])
    assert "extends" in properties
    items = cast("dict[str, list[object]]", properties["transforms"]["items"])
    assert len(items["anyOf"]) == 2


@pytest.mark.parametrize(
    "line",
    [
        "| `epochs` | a whole number greater than 0, or null | `null` | Epochs to train; "
        "exactly one of epochs and steps is set. |",
        '| `optimizer` | one of `adamw`, `sgd` | `"adamw"` | Optimizer. |',
        "## `transforms.N`",
        "## `checkpoint.best`",
        "## `training.schedule: cosine`",
    ],
)
def test_the_reference_has_a_table_for_each_section(line: str) -> None:
    assert line in markdown().splitlines()
