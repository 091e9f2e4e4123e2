"""The row that is to blame: found by halving, or all rows of the call where none fails alone."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.data.blame import RowsAtHand, UserCodeError, with_blame
from orchestrator.data.codec import Columns
from orchestrator.data.transforms import in_pieces
from orchestrator.errors import DataError
from tests.support.plans import make_index

ROOT = Path("/data")


def at_hand(rows: int) -> RowsAtHand:
    """Rows in a random order, 40 in the first file."""
    numbers = np.random.default_rng(1).permutation(100)[:rows]
    return RowsAtHand(index=make_index((40, 60)), root=ROOT, rows=numbers, epoch=2)


def failing(error: Exception, part: slice) -> UserCodeError:
    stop = part.stop - part.start
    return UserCodeError("transform m:f", error, root=ROOT, start=0, stop=stop)


@given(st.data(), st.integers(1, 70))
def test_the_first_of_the_bad_rows_is_named(data: st.DataObject, rows: int) -> None:
    bad = data.draw(st.sets(st.integers(0, rows - 1), min_size=1))

    def work(part: slice) -> None:
        if any(part.start <= row < part.stop for row in bad):
            raise failing(ValueError("cursed"), part)

    held = at_hand(rows)
    row = int(held.rows[min(bad)])
    file, number = ("part-0", row) if row < 40 else ("part-1", row - 40)
    with pytest.raises(DataError) as caught:
        with_blame(work, held)
    assert str(caught.value) == (
        f"transform m:f failed on row {row} of epoch 2 ({file}.parquet, row {number}):"
        " ValueError: cursed"
    )


@given(st.data(), st.integers(1, 70), st.integers(1, 80))
def test_the_row_is_found_also_where_calls_get_some_rows_at_a_time(
    data: st.DataObject, rows: int, call_rows: int
) -> None:
    bad = data.draw(st.sets(st.integers(0, rows - 1), min_size=1))

    def call(part: slice) -> Columns:
        assert part.stop - part.start <= call_rows
        if any(part.start <= row < part.stop for row in bad):
            raise failing(ValueError("cursed"), part)
        return {"x": np.arange(part.start, part.stop)}

    held = at_hand(rows)
    with pytest.raises(DataError, match=f"on row {held.rows[min(bad)]} of"):
        with_blame(lambda part: in_pieces(call, part, rows=call_rows, name="m:f"), held)


@given(st.integers(0, 70), st.integers(1, 80))
def test_pieces_are_put_together_in_order(rows: int, call_rows: int) -> None:
    def call(part: slice) -> Columns:
        return {"x": np.arange(part.start, part.stop)}

    whole = in_pieces(call, slice(3, 3 + rows), rows=call_rows, name="m:f")
    np.testing.assert_array_equal(whole["x"], np.arange(3, 3 + rows))


def test_where_no_row_fails_alone_all_are_named() -> None:
    def work(part: slice) -> None:
        if part.stop - part.start > 2:
            raise failing(ValueError("too many"), part)

    held = at_hand(8)
    first = ", ".join(str(row) for row in held.rows[:5])
    path, number = held.index.locate(int(held.rows[0]))
    with pytest.raises(DataError) as caught:
        with_blame(work, held)
    assert str(caught.value) == (
        f"transform m:f failed on rows {first} and 3 more of epoch 2 ({Path(path).name}, from row"
        f" {number} on): ValueError: too many"
    )


def test_another_mistake_on_fewer_rows_blames_no_row() -> None:
    def work(part: slice) -> None:
        if part.stop - part.start == 1:
            raise failing(ZeroDivisionError("no spread in one row"), part)
        raise failing(ValueError("real"), part)

    with pytest.raises(DataError, match=r"on rows .* and 3 more of .*: ValueError: real"):
        with_blame(work, at_hand(8))


def test_a_wrong_result_of_fewer_rows_does_not_hide_the_failure() -> None:
    def work(part: slice) -> None:
        if part.stop - part.start < 8:
            raise DataError("returned a scalar")
        raise failing(ValueError("real"), part)

    with pytest.raises(DataError, match="ValueError: real"):
        with_blame(work, at_hand(8))


def test_only_the_rows_of_the_call_that_failed_are_searched() -> None:
    asked: list[tuple[int, int]] = []

    def work(part: slice) -> None:
        asked.append((part.start, part.stop))
        size = part.stop - part.start
        if size == 16:
            raise UserCodeError("transform m:f", ValueError(), root=ROOT, start=8, stop=12)
        if part.start <= 9 < part.stop:
            raise failing(ValueError(), part)

    held = at_hand(16)
    with pytest.raises(DataError, match=rf"failed on row {held.rows[9]} of .*: ValueError$"):
        with_blame(work, held)
    assert asked == [(0, 16), (8, 10), (8, 9), (9, 10)]


def test_a_transform_that_fails_on_no_rows_is_told_so() -> None:
    def work(part: slice) -> None:
        raise failing(ValueError("nothing there"), part)

    with pytest.raises(DataError, match=r"m:f failed on no rows, .*: ValueError: nothing there"):
        with_blame(work, at_hand(0))


def test_work_that_does_not_fail_is_done_once() -> None:
    assert with_blame(lambda part: (part.start, part.stop), at_hand(5)) == (0, 5)
