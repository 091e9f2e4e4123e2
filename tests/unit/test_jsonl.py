"""Reading and writing JSON-lines files that others write and read at the same time."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from orchestrator.jsonl import JsonLinesTail, JsonLinesWriter, JsonObject, read_json_lines

FINITE_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=8,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def test_a_tail_waits_for_a_file_that_does_not_exist_yet(path: Path) -> None:
    tail = JsonLinesTail(path)
    assert tail.new() == []
    append(path, b'{"step": 1}\n')
    assert tail.new() == [{"step": 1}]


def test_a_tail_gives_each_line_once(path: Path) -> None:
    tail = JsonLinesTail(path)
    append(path, b'{"step": 1}\n{"step": 2}\n')
    assert tail.new() == [{"step": 1}, {"step": 2}]
    assert tail.new() == []
    append(path, b'{"step": 3}\n')
    assert tail.new() == [{"step": 3}]


def test_a_tail_holds_back_a_line_that_is_still_being_written(path: Path) -> None:
    tail = JsonLinesTail(path)
    append(path, b'{"step": 1}\n{"st')
    assert tail.new() == [{"step": 1}]
    append(path, b'ep": 2}')
    assert tail.new() == []
    append(path, b"\n")
    assert tail.new() == [{"step": 2}]
    assert tail.torn == 0


@pytest.mark.parametrize(
    "torn",
    [
        pytest.param(b'{"step": 1, "lo', id="cut in a key"),
        pytest.param(b'{"name": "\xc3', id="cut in a character"),
        pytest.param(b"\x00\x00\x00\x00", id="zeros of a crashed machine"),
        pytest.param(b"12", id="no object"),
        pytest.param(b"[" * 100_000, id="too deep to parse"),
        pytest.param(b'{"step": ' + b"1" * 5000 + b"}", id="a number too long to parse"),
    ],
)
def test_a_torn_line_is_skipped_and_counted(path: Path, torn: bytes) -> None:
    append(path, b'{"step": 1}\n' + torn + b'\n{"step": 2}\n')
    tail = JsonLinesTail(path)
    assert tail.new() == [{"step": 1}, {"step": 2}]
    assert tail.torn == 1
    assert read_json_lines(path) == [{"step": 1}, {"step": 2}]


def test_empty_lines_are_not_torn(path: Path) -> None:
    append(path, b'\n{"step": 1}\r\n\n')
    tail = JsonLinesTail(path)
    assert tail.new() == [{"step": 1}]
    assert tail.torn == 0


# Files are as slow as the machine is busy.
@settings(deadline=None, max_examples=50)
@given(objects=st.lists(st.dictionaries(st.text(), FINITE_VALUES), max_size=4), data=st.data())
def test_a_tail_gives_the_same_objects_wherever_the_writes_are_cut(
    tmp_path_factory: pytest.TempPathFactory,
    objects: list[dict[str, JsonValue]],
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.mktemp("cut") / "lines.jsonl"
    content = b"".join(json.dumps(each).encode() + b"\n" for each in objects)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=5)))
    tail = JsonLinesTail(path)
    seen: list[object] = []
    for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
        append(path, content[start:end])
        seen += tail.new()
    assert seen == objects
    assert tail.torn == 0


def test_reading_a_file_that_does_not_exist_gives_nothing(path: Path) -> None:
    assert read_json_lines(path) == []


def test_reading_takes_a_whole_last_object_without_its_line_end(path: Path) -> None:
    append(path, b'{"step": 1}\n{"step": 2}')
    assert read_json_lines(path) == [{"step": 1}, {"step": 2}]


def test_a_line_can_be_read_as_soon_as_it_is_written(path: Path) -> None:
    with JsonLinesWriter(path) as writer:
        writer.write({"step": 1})
        assert read_json_lines(path) == [{"step": 1}]
        writer.write({"step": 2})
        assert read_json_lines(path) == [{"step": 1}, {"step": 2}]


def test_a_writer_appends_to_what_is_there(path: Path) -> None:
    for step in (1, 2):
        with JsonLinesWriter(path) as writer:
            writer.write({"step": step})
    assert path.read_bytes() == b'{"step":1}\n{"step":2}\n'


def test_a_writer_starts_on_a_fresh_line_after_a_torn_one(path: Path) -> None:
    append(path, b'{"step": 1}\n{"st')
    with JsonLinesWriter(path) as writer:
        writer.write({"step": 2})
        writer.write({"step": 3})
    tail = JsonLinesTail(path)
    assert tail.new() == [{"step": 1}, {"step": 2}, {"step": 3}]
    assert tail.torn == 1


def test_a_value_that_is_no_json_leaves_the_file_as_it_was(path: Path) -> None:
    with JsonLinesWriter(path) as writer:
        with pytest.raises(TypeError, match="not JSON serializable"):
            writer.write({"path": path})  # type: ignore[dict-item]
        writer.write({"step": 1})
    assert path.read_bytes() == b'{"step":1}\n'


def test_numbers_that_json_lacks_become_strings(path: Path) -> None:
    with JsonLinesWriter(path) as writer:
        writer.write({"loss": math.nan, "metrics": {"a": math.inf, "b": [-math.inf, 0.5]}})
    assert read_json_lines(path) == [
        {"loss": "NaN", "metrics": {"a": "Infinity", "b": ["-Infinity", 0.5]}}
    ]


# Files are as slow as the machine is busy.
@settings(deadline=None, max_examples=50)
@given(written=st.dictionaries(st.text(), FINITE_VALUES))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, written: dict[str, JsonValue]
) -> None:
    path = tmp_path_factory.mktemp("round") / "lines.jsonl"
    with JsonLinesWriter(path) as writer:
        writer.write(written)
    assert read_json_lines(path) == [written]


@pytest.mark.parametrize("last_bytes", range(1, 40))
def test_the_end_of_a_long_file_is_read_in_whole_lines(tmp_path: Path, last_bytes: int) -> None:
    path = tmp_path / "a.jsonl"
    lines = ['{"a":1}', '{"b":{"c":{}}}', '{"d":3}']
    path.write_text("".join(f"{line}\n" for line in lines))
    objects: list[JsonObject] = [json.loads(line) for line in lines]
    read = read_json_lines(path, last_bytes=last_bytes)
    assert read == (objects[-len(read) :] if read else [])
    assert len(read) >= int(last_bytes > len(lines[-1]) + 1)
    assert read_json_lines(path, last_bytes=10**6) == objects
