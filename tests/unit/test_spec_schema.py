"""The description of specs for editors and readers."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from orchestrator.spec.schema import json_schema, markdown

REFERENCE = Path(__file__).parents[2] / "docs" / "spec.md"


def test_the_committed_reference_is_current() -> None:
    message = "run: orchestrator schema --markdown > docs/spec.md"
    assert REFERENCE.read_text(encoding="utf-8") == markdown(), message


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
