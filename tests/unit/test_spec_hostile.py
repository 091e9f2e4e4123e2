"""Hostile and malformed specs, from public corpora beside the repository."""

import contextlib
import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import SpecError
from orchestrator.spec.load import load_job
from orchestrator.spec.tree import Plain, Where, plain
from orchestrator.spec.yaml_reader import read_yaml
from orchestrator.symbols import check_reference

CORPORA = Path(__file__).parents[2].parent / "shared" / "corpora"
SUITE = CORPORA / "json-suite" / "test_parsing"
NAUGHTY = CORPORA / "naughty-strings" / "blns.json"

needs_suite = pytest.mark.skipif(not SUITE.is_dir(), reason="no JSON test suite beside us")
needs_strings = pytest.mark.skipif(not NAUGHTY.is_file(), reason="no naughty strings beside us")

# Valid JSON that a spec refuses on purpose, and why.
REFUSED = {
    "y_object_duplicated_key.json": "was given before",
    "y_object_duplicated_key_and_value.json": "was given before",
    "y_string_nonCharacterInUTF-8_U+FFFF.json": "U+FFFF is not allowed",
    "y_string_with_del_character.json": "U+007F is not allowed",
    "y_string_unescaped_char_delete.json": "U+007F is not allowed",
}


def files(prefix: str) -> list[Path]:
    return sorted(SUITE.glob(f"{prefix}*.json")) if SUITE.is_dir() else []


def strings() -> list[str]:
    return list(json.loads(NAUGHTY.read_text("utf-8"))) if NAUGHTY.is_file() else []


@needs_suite
@pytest.mark.parametrize("file", files(""), ids=lambda file: file.name)
def test_no_file_of_the_suite_is_a_spec_and_each_says_where(file: Path) -> None:
    start = time.perf_counter()
    with pytest.raises(SpecError) as caught:
        load_job(file, environ={})
    assert time.perf_counter() - start < 2
    assert caught.value.problems
    for problem in caught.value.problems:
        assert problem.startswith(f"{file}:")
        assert "\n" not in problem
        assert "Input should" not in problem


@needs_suite
@pytest.mark.parametrize("file", files("y_"), ids=lambda file: file.name)
def test_valid_json_reads_as_itself_or_is_refused_on_purpose(file: Path) -> None:
    text = file.read_text("utf-8")

    def read() -> Plain:
        return plain(read_yaml(text, lambda line, column: Where(source="x")))

    reason = REFUSED.get(file.name)
    if reason is None and not _has_escape_beyond_yaml(text):
        assert read() == json.loads(text)
    else:
        with pytest.raises(SpecError, match=(reason or "not valid YAML").replace("+", r"\+")):
            read()


def _has_escape_beyond_yaml(text: str) -> bool:
    """Whether a character is escaped as a surrogate pair, which is JSON's way and not YAML's."""
    return "\\ud" in text.lower()


@needs_strings
@pytest.mark.parametrize("text", strings(), ids=range(len(strings())))
def test_naughty_strings_are_refused_as_names_or_are_harmless(text: str, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(
        json.dumps(
            {
                "name": text,
                "dataset": {"train": {"paths": "data"}},
                "training": {"task": "mine:Task", "epochs": 1, "global_batch_size": 1},
            },
            ensure_ascii=False,
        ),
        encoding="utf-8",
    )
    with contextlib.suppress(SpecError):
        name = load_job(file, environ={}).name
        # No separators and no leading dot: it cannot leave its folder.
        assert Path(text).name == text == name
        assert not name.startswith(".")
    assert [item.name for item in tmp_path.iterdir()] == ["job.yaml"]


@needs_strings
def test_naughty_strings_are_refused_as_references() -> None:
    for text in strings():
        with pytest.raises(ValueError, match="wanted a reference"):
            check_reference(text)


JOB = """\
extends: base.yaml
name: job
transforms: [{use: mine:f, with: &a {x: 1e-3}}]
training: {task: mine:Task, epochs: 1, global_batch_size: 8, with: *a}
checkpoint: {storage: "${env:HOME}", every: 5m}
"""
snippets = st.text(max_size=6) | st.sampled_from(
    [": ", "- ", "*a", "&a", "!!x ", "{", "}", "[", "]", "\n", "\t", "? ", "|", "<<: *a", "~",
     "${", "0x", "1e999", "---", "\ufeff", "\udc80"]
)  # fmt: skip


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(edits=st.lists(st.tuples(st.integers(0, len(JOB)), snippets), min_size=1, max_size=4))
def test_a_damaged_spec_loads_or_is_refused_line_by_line(
    tmp_path: Path, edits: list[tuple[int, str]]
) -> None:
    text = JOB
    for position, snippet in edits:
        text = text[:position] + snippet + text[position:]
    (tmp_path / "base.yaml").write_text("dataset: {train: {paths: data}}", encoding="utf-8")
    file = tmp_path / "job.yaml"
    file.write_bytes(text.encode("utf-8", errors="surrogateescape"))
    with contextlib.suppress(SpecError):
        assert load_job(file, environ={"HOME": "/home"}).name


def test_a_chain_of_aliases_is_no_way_around_the_depth(tmp_path: Path) -> None:
    chain = "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 190))
    file = tmp_path / "job.yaml"
    file.write_text(f"a0: &a0 [1]\n{chain}training: {{with: {{x: *a189}}}}\n", encoding="utf-8")
    with pytest.raises(SpecError, match="nested deeper than 32 levels"):
        load_job(file, environ={})
