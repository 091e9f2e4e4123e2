"""Reading YAML into placed values."""

import json
from pathlib import Path

import pytest
import yaml

from orchestrator.errors import SpecError
from orchestrator.spec import yaml_reader
from orchestrator.spec.scalars import resolve_scalar
from orchestrator.spec.tree import Plain, Where, descend, plain
from orchestrator.spec.yaml_reader import MAX_BYTES, MAX_VALUES, read_yaml, read_yaml_file


def at(line: int, column: int) -> Where:
    return Where(source="x.yaml", line=line, column=column)


def read(text: str) -> Plain:
    return plain(read_yaml(text, at))


@pytest.fixture(params=["C", "Python"], autouse=True)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs each test with both parsers: builds of PyYAML from source may lack the one in C."""
    if request.param == "Python":
        monkeypatch.setattr(yaml_reader, "_LOADER", yaml.SafeLoader)
    return str(request.param)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-7", -7), ("010", 10), ("0o10", 8), ("0x1f", 31), ("1e-3", 0.001),
        ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("-1E5", -1e5),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("on", "on"), ("off", "off"), ("yes", "yes"), ("no", "no"), ("y", "y"),
        ("1:30", "1:30"), ("1_000", "1_000"), ("2020-01-01", "2020-01-01"), ("=", "="),
        ("tRue", "tRue"), ("0b1", "0b1"), ("1e", "1e"), (".", "."), ("٣", "٣"),
    ],
)  # fmt: skip
def test_words_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    assert resolve_scalar(text) == value
    assert type(resolve_scalar(text)) is type(value)
    assert read(f"a: {text}") == {"a": value}


def test_quoted_words_and_blocks_stay_text() -> None:
    assert read("a: '1'\nb: \"true\"\nc: |\n  null\n") == {"a": "1", "b": "true", "c": "null\n"}


def test_values_know_their_places() -> None:
    tree = read_yaml("a:\n  - b: 1\n  -  {c: two}\n", at)
    node, complete = descend(tree, ("a", 1, "c"))
    assert complete
    assert (str(node.where), str(node.key)) == ("x.yaml:3:10", "x.yaml:3:7")
    node, complete = descend(tree, ("a", 2, "d"))
    assert not complete
    assert str(node.where) == "x.yaml:2:3"


def test_an_alias_stands_for_what_it_names() -> None:
    assert read("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", r'^x.yaml:3:1: the key "a" was given before, at x.yaml:1:1$'),
        ("a: {b: 1, b: 2}", r'^x.yaml:1:11: the key "b" was given before'),
        ("a: 1\n---\nb: 2", r"^x.yaml:2:1: a second document"),
        ("a: *x", r'^x.yaml:1:4: no "&x" before "\*x"$'),
        ("a: &x [*x]", r'^x.yaml:1:8: "\*x" stands inside "&x"$'),
        ("a: !!python/object:os.system x", r'^x.yaml:1:4: the tag "!!python/object:os.system"'),
        ("!!map {}", r'^x.yaml:1:1: the tag "!!map" is not allowed'),
        ("a: ! x", r'^x.yaml:1:4: the tag "!" is not allowed'),
        ("1: a", r"^x.yaml:1:1: wanted a text as the key; put it in quotes$"),
        ("true: a", r"wanted a text as the key"),
        ("~: a", r"wanted a text as the key"),
        (".nan: a", r"wanted a finite number, got .nan"),
        ("[a]: b", r"^x.yaml:1:1: wanted a text as the key, got a mapping or a list$"),
        ("? {a: b}\n: c", r"got a mapping or a list"),
        ("a: &x {b: 1}\nc:\n  <<: *x", r'^x.yaml:3:3: merging with "<<" is not supported'),
        ("a: .inf", r"^x.yaml:1:4: wanted a finite number, got .inf$"),
        ("a: 1e999", r"wanted a finite number"),
        ("a: " + "9" * 5000, r"^x.yaml:1:4: a number of more than 400 digits$"),
        ("a: b\a", r"^x.yaml:1:5: the character U\+0007 is not allowed$"),
        ("a: [1, 2", r"^x.yaml:\d+:\d+: not valid YAML: .* starts? on line 1|sequence"),
        ("a:\n\t- b", r"^x.yaml:2:1: not valid YAML: .*; indent with spaces, not with tabs$"),
        ("a: @b", r"not valid YAML: .*in quotes$"),
        ("paths: *.parquet", r"^x.yaml:1:\d+: .*(quotes|before)"),
        ("a: b: c", r"^x.yaml:1:5: not valid YAML: mapping values are not allowed"),
    ],
)
def test_what_is_not_plain_data_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read(text)


def test_depth_is_limited_without_recursion() -> None:
    assert read("[" * 32 + "]" * 32) is not None
    for text in ("[" * 33 + "]" * 33, "[" * 20_000, '{"a":' * 20_000, "- " * 20_000):
        with pytest.raises(SpecError, match="nested deeper than 32 levels"):
            read(text)


def test_bombs_of_aliases_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    with pytest.raises(SpecError, match=f"more than {MAX_VALUES} values, each use of an alias"):
        read("\n".join(lines))


def test_nothing_reads_as_null() -> None:
    assert read("") is None
    assert read("# only a comment\n") is None


def test_a_file_is_limited_in_size(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    with file.open("wb") as out:
        out.truncate(100 * 1024 * 1024)
    with pytest.raises(SpecError, match=r"x.yaml: larger than 1024KiB"):
        read_yaml_file(file)
    file.write_bytes(b"a: " + b"x" * (MAX_BYTES - 3))
    assert isinstance(plain(read_yaml_file(file)), dict)


def test_a_file_is_utf_8_with_or_without_a_mark(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: \xc3\xa9\n")
    assert plain(read_yaml_file(file)) == {"a": "é"}
    file.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(SpecError, match=r"x.yaml:2:4: not valid UTF-8$"):
        read_yaml_file(file)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot be read: Is a directory$"):
        read_yaml_file(tmp_path)
    with pytest.raises(SpecError, match=r"cannot be read: No such file or directory$"):
        read_yaml_file(tmp_path / "x")


def test_json_reads_as_itself() -> None:
    value: Plain = {"a": [1, 2.5, None, True, "x: y", {"b": {}}], "é\n": "\U0001f600\u2028"}
    assert read(json.dumps(value, ensure_ascii=False)) == value
    assert read(json.dumps(value, indent=2, ensure_ascii=False)) == value
