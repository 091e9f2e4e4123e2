"""Durations, sizes, intervals and names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from orchestrator.units import (
    ByteSize,
    Interval,
    Name,
    duration_text,
    format_bytes,
    format_count,
    format_duration,
    parse_byte_size,
    parse_duration,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("500ms", 0.5),
        ("2s", 2.0),
        ("0.5h", 1800.0),
        ("1d", 86400.0),
        (30, 30.0),
        (1.5, 1.5),
        ("0s", 0.0),
    ],
)
def test_durations_are_read_in_seconds(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "value",
    ["", "10", "m", "10 parsecs", "-5s", "5s-", "1m1h", "1s1s", True, None, -1, float("nan"),
     float("inf"), "9" * 400 + "h", [1], "1e3s", "٣s"],
)  # fmt: skip
def test_what_is_no_duration_is_refused_with_an_example(value: object) -> None:
    with pytest.raises(ValueError, match='wanted a duration such as "500ms"'):
        parse_duration(value)


@given(st.floats(min_value=0, max_value=1e12, allow_nan=False))
def test_the_text_of_a_duration_reads_back_to_the_same_number(seconds: float) -> None:
    # Text carries 18 digits after the point; shorter durations are nobody's checkpoint interval.
    seconds = round(seconds, 6)
    assert parse_duration(duration_text(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64MiB", 64 * 1024**2),
        ("1GB", 10**9),
        ("512KiB", 512 * 1024),
        ("1.5 GiB", 3 * 2**29),
        ("7B", 7),
        (1024, 1024),
    ],
)
def test_sizes_are_read_in_bytes(text: object, size: int) -> None:
    assert parse_byte_size(text) == size
    assert TypeAdapter(ByteSize).validate_python(text) == size


@pytest.mark.parametrize(
    "value",
    ["", "64", "MiB", "64mb", "-1B", "0B", 0, -1, True, 1.5, None, "0.5B", "9999999TiB"],
)
def test_what_is_no_size_is_refused_with_an_example(value: object) -> None:
    with pytest.raises(ValueError, match='wanted a size such as "64MiB"'):
        parse_byte_size(value)


@pytest.mark.parametrize(
    "text", ["1 step", "100 steps", "1 epoch", "2 epochs", "10m", "1h30m", "500ms", "1.5s", "2h"]
)
def test_an_interval_prints_back_as_it_was_written(text: str) -> None:
    interval = Interval.model_validate(text)
    assert str(interval) == text
    assert interval.model_dump() == text
    assert Interval.model_validate(interval.model_dump()) == interval


def test_an_interval_has_its_number_in_the_field_of_its_unit() -> None:
    assert Interval.model_validate("100 steps") == Interval(steps=100)
    assert Interval.model_validate("2 epochs") == Interval(epochs=2)
    assert Interval.model_validate("10m") == Interval(seconds=600.0)


@pytest.mark.parametrize(
    "value", ["", "10", 10, "0 steps", "0s", "-1 steps", "1.5 epochs", "1 step 2 epochs", None, [1]]
)
def test_what_is_no_interval_is_refused_with_an_example(value: object) -> None:
    with pytest.raises(ValidationError, match='wanted an interval such as "100 steps"'):
        Interval.model_validate(value)


def test_an_interval_with_two_units_is_refused() -> None:
    with pytest.raises(ValidationError, match="exactly one of steps, epochs and seconds"):
        Interval(steps=1, epochs=1)
    with pytest.raises(ValidationError, match="exactly one of steps, epochs and seconds"):
        Interval()


@pytest.mark.parametrize("name", ["a", "0", "Run-1_b.c", "a" * 63])
def test_good_names_are_taken(name: str) -> None:
    assert TypeAdapter(Name).validate_python(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "/x", "-x", "a/b", "a\n", "a b", "a\0", "é", "a" * 64, 1, None]
)
def test_names_that_could_leave_their_folder_are_refused(name: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Name).validate_python(name)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0304, "30ms"),
        (0.97, "1s"),
        (12.34, "12.3s"),
        (59.97, "1m"),
        (245, "4m5s"),
        (3599.7, "1h"),
        (4980, "1h23m"),
        (86399, "1d"),
        (100000, "1d4h"),
        (-245, "-4m5s"),
    ],
)
def test_durations_are_printed_in_two_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (312, "312B"), (1023, "1023B"), (1024, "1KiB"), (64 * 2**20, "64MiB"),
     (2**20 - 1, "1MiB"), (3 * 2**29, "1.5GiB"), (2**50, "1024TiB")],
)  # fmt: skip
def test_sizes_are_printed_in_binary_units(size: int, text: str) -> None:
    assert format_bytes(size) == text


def test_counts_are_printed_exactly() -> None:
    assert format_count(1797) == "1,797"
