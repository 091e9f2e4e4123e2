"""The payload of a block: columns in, the same columns out, without a copy where it matters."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from orchestrator.data.codec import Column, decode, encode
from orchestrator.errors import DataError

NUMBERS = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"]


def round_trip(column: Column) -> Column:
    return decode(encode({"column": column}))["column"]


def assert_same(got: Column, wanted: Column) -> None:
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    np.testing.assert_array_equal(got, wanted)


@given(
    hnp.arrays(
        st.sampled_from(NUMBERS), hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)
    )
)
def test_numbers_of_any_type_and_shape_come_back_as_they_were(column: Column) -> None:
    assert_same(round_trip(column), column)


@given(st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"])))))
def test_texts_and_their_gaps_come_back(texts: list[str | None]) -> None:
    assert round_trip(np.array(texts, dtype=object)).tolist() == texts


@given(st.lists(st.one_of(st.none(), st.binary())))
def test_bytes_and_their_gaps_come_back(values: list[bytes | None]) -> None:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    assert round_trip(column).tolist() == values


@pytest.mark.parametrize(
    "column",
    [
        np.arange(24).reshape(4, 6)[:, ::2],
        np.arange(24).reshape(4, 6)[::-2],
        np.asfortranarray(np.arange(24.0).reshape(4, 6)),
        np.arange(12)[::3],
        np.broadcast_to(np.float32(3), (5, 2)),
        np.array([[True, False], [False, False]]),
        np.array([["ab", "c"]]),
        np.array(["2020-01-01", "NaT"], dtype="M8[us]"),
        np.array([[1, 2]], dtype="m8[s]"),
        np.array([1.5, np.nan, -0.0, np.inf]),
        np.zeros((3, 0, 2), dtype=np.float32),
        np.zeros((0, 3), dtype=np.uint8),
    ],
    ids=lambda column: f"{column.dtype}-{column.shape}",
)
def test_unusual_arrays_come_back_as_they_were(column: Column) -> None:
    assert_same(round_trip(column), column)


@pytest.mark.parametrize(
    "column", [np.arange(3, dtype=">i4"), np.arange(6, dtype=">f8").reshape(3, 2)]
)
def test_the_other_byte_order_becomes_our_own(column: Column) -> None:
    got = round_trip(column)
    assert got.dtype.isnative
    np.testing.assert_array_equal(got, column)


def test_texts_of_a_fixed_width_become_objects() -> None:
    got = round_trip(np.array(["ab", "c"]))
    assert got.dtype == object
    assert got.tolist() == ["ab", "c"]


def test_lists_of_different_lengths_come_back_as_arrays() -> None:
    column = np.empty(2, dtype=object)
    column[:] = [np.arange(2), np.arange(3)]
    assert [part.tolist() for part in round_trip(column)] == [[0, 1], [0, 1, 2]]


def test_columns_keep_their_names_and_their_order() -> None:
    columns: dict[str, Column] = {"b": np.arange(2), "a.x": np.ones((2, 3)), "ä b": np.arange(2)}
    assert list(decode(encode(columns))) == ["b", "a.x", "ä b"]


@pytest.mark.parametrize(
    "column",
    [
        np.arange(1000),
        np.arange(1000.0, dtype=np.float32).reshape(10, 10, 10),
        np.zeros(1000, dtype=np.complex64),
    ],
)
def test_numbers_are_views_into_the_block(column: Column) -> None:
    cell = encode({"column": column})
    got = decode(cell)["column"]
    place = got.__array_interface__["data"][0]
    held = [cell.field(number).buffers()[-1] for number in range(cell.type.num_fields)]
    assert any(buffer.address <= place < buffer.address + buffer.size for buffer in held)
    assert not got.flags.writeable


def test_a_cell_among_others_is_read_by_itself() -> None:
    cells = [encode({"a": np.arange(2) + first, "b": np.full((2, 3), first)}) for first in (5, 7)]
    got = decode(pa.concat_arrays(cells).slice(1, 1))
    assert got["a"].tolist() == [7, 8]
    assert got["b"].tolist() == [[7, 7, 7]] * 2


def test_a_tensor_travels_without_a_copy() -> None:
    column = np.arange(12.0).reshape(3, 4)
    assert np.shares_memory(decode(encode({"column": column[1:]}))["column"], column)


def test_a_cell_has_the_same_type_however_many_rows_there_are() -> None:
    cells = [encode({"a": np.zeros(rows), "b": np.zeros((rows, 2))}) for rows in (0, 2, 100_000)]
    assert cells[0].type == cells[1].type == cells[2].type


@pytest.mark.parametrize(
    "column",
    [
        np.array([1, "a"], dtype=object),
        np.array([object()], dtype=object),
        np.array([[None, "a"]], dtype=object),
        np.zeros(2, dtype=[("x", "i4")]),
        np.zeros((2, 2), dtype=[("x", "i4")]),
        np.zeros(2, dtype=np.longdouble),
        np.array([2**70], dtype=object),
    ],
    ids=lambda column: f"{column.dtype}-{column.shape}",
)
def test_what_cannot_travel_is_refused_by_the_name_of_its_column(column: Column) -> None:
    with pytest.raises(DataError, match=r"column 'bad' of .* cannot be sent"):
        encode({"good": np.arange(len(column)), "bad": column})
