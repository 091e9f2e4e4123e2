"""The sample order: each epoch is a permutation that can be asked for at any place."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.plan.order import Rows, SampleOrder, Window, permutation_check
from tests.support.orders import rows_between

KINDS = {"none": (False, False), "fragments": (True, False), "window": (True, True)}

sizes_of_fragments = st.lists(st.integers(0, 17), min_size=1, max_size=12).filter(any)
kinds = st.sampled_from(sorted(KINDS))


def make_order(
    sizes: list[int], kind: str = "window", *, window_rows: int = 10, seed: int = 0
) -> SampleOrder:
    fragments, rows = KINDS[kind]
    return SampleOrder(
        np.array(sizes, dtype=np.int64),
        window_rows=window_rows,
        seed=seed,
        shuffle_fragments=fragments,
        shuffle_rows=rows,
    )


def whole(order: SampleOrder, epoch: int = 0) -> Rows:
    return rows_between(order, epoch, 0, order.rows)


def rows_of_pieces(window: Window, sizes: list[int]) -> list[int]:
    firsts = np.concatenate([[0], np.cumsum(sizes)])
    return [
        int(firsts[piece.fragment]) + row
        for piece in window.pieces
        for row in range(piece.start, piece.stop)
    ]


@given(sizes_of_fragments, kinds, st.integers(1, 40), st.integers(0, 3), st.integers(0, 2**53))
def test_every_epoch_is_a_permutation_of_all_rows(
    sizes: list[int], kind: str, window_rows: int, epoch: int, seed: int
) -> None:
    order = make_order(sizes, kind, window_rows=window_rows, seed=seed)
    assert sorted(whole(order, epoch)) == list(range(sum(sizes)))


@given(sizes_of_fragments, kinds, st.integers(1, 40), st.data())
def test_rows_between_two_positions_are_a_slice_of_the_epoch(
    sizes: list[int], kind: str, window_rows: int, data: st.DataObject
) -> None:
    order = make_order(sizes, kind, window_rows=window_rows)
    start = data.draw(st.integers(0, order.rows))
    stop = data.draw(st.integers(start, order.rows + 5))
    assert rows_between(order, 1, start, stop).tolist() == whole(order, 1)[start:stop].tolist()


@given(sizes_of_fragments, kinds, st.integers(1, 40), st.integers(0, 2))
def test_the_rows_of_a_window_are_those_of_its_pieces(
    sizes: list[int], kind: str, window_rows: int, epoch: int
) -> None:
    order = make_order(sizes, kind, window_rows=window_rows)
    for number in range(order.windows):
        window = order.window(epoch, number)
        arranged = window.arrange([segment.units for segment in window.segments])
        numbers = order.unit_numbers(window.pieces)[arranged].tolist()
        assert sorted(numbers) == sorted(rows_of_pieces(window, sizes))
        assert window.start == number * window_rows
        assert window.rows == len(numbers) == min(window_rows, order.rows - window.start)
        assert all(piece.start < piece.stop for piece in window.pieces)
        assert numbers == whole(order, epoch)[window.start :][: window.rows].tolist()


@given(sizes_of_fragments, kinds, st.integers(1, 40), st.integers(0, 2))
def test_read_amplification_is_what_the_windows_read_for_what_they_use(
    sizes: list[int], kind: str, window_rows: int, epoch: int
) -> None:
    order = make_order(sizes, kind, window_rows=window_rows)
    read = sum(
        sizes[piece.fragment]
        for number in range(order.windows)
        for piece in order.window(epoch, number).pieces
    )
    assert order.read_amplification(epoch) == pytest.approx(read / order.rows)


@given(sizes_of_fragments, st.integers(1, 40))
def test_without_a_shuffle_rows_come_as_the_files_are(sizes: list[int], window_rows: int) -> None:
    order = make_order(sizes, "none", window_rows=window_rows)
    for epoch in (0, 5):
        assert whole(order, epoch).tolist() == list(range(sum(sizes)))


@given(sizes_of_fragments, st.integers(1, 40), st.integers(0, 3))
def test_shuffled_fragments_keep_their_rows_together_and_in_order(
    sizes: list[int], window_rows: int, epoch: int
) -> None:
    order = make_order(sizes, "fragments", window_rows=window_rows)
    fragment_of = np.repeat(np.arange(len(sizes)), sizes)
    rows = whole(order, epoch).tolist()
    breaks = [(a, b) for a, b in pairwise(rows) if b != a + 1 or fragment_of[a] != fragment_of[b]]
    assert len(breaks) == sum(1 for size in sizes if size) - 1


@pytest.mark.parametrize("kind", ["fragments", "window"])
def test_the_same_seed_and_epoch_give_the_same_order_whatever_was_asked_before(kind: str) -> None:
    sizes = [7] * 30
    one, other = (make_order(sizes, kind, window_rows=25, seed=3) for _ in range(2))
    for epoch in (4, 0, 2, 1):
        rows_between(other, epoch, 30, 80)
    assert whole(one, 2).tolist() == whole(other, 2).tolist()


@pytest.mark.parametrize("kind", ["fragments", "window"])
@pytest.mark.parametrize(
    ("one", "other"), [((0, 0), (0, 1)), ((0, 0), (1, 0)), ((1, 0), (0, 1)), ((5, 2), (2, 5))]
)
def test_another_epoch_or_seed_gives_another_order(
    kind: str, one: tuple[int, int], other: tuple[int, int]
) -> None:
    first, second = (
        whole(make_order([7] * 30, kind, window_rows=25, seed=seed), epoch).tolist()
        for seed, epoch in (one, other)
    )
    assert first != second


def test_one_window_over_everything_mixes_rows_of_all_fragments() -> None:
    order = make_order([50] * 20, window_rows=1000)
    first = whole(order)[:100] // 50
    assert len(set(first.tolist())) > 15


def test_a_window_is_shuffled_the_same_whatever_lies_beside_it() -> None:
    short, long = (make_order([10] * count, "window", window_rows=20) for count in (4, 400))
    shuffles = [order.window(3, 1).segments[0].shuffle(20) for order in (short, long)]
    assert shuffles[0] is not None
    assert shuffles[1] is not None
    assert shuffles[0].tolist() == shuffles[1].tolist()


def test_a_window_of_many_fragments_is_found_without_walking_through_them() -> None:
    order = make_order([100] * 200_000, "fragments", window_rows=1000)
    window = order.window(0, order.windows - 1)
    assert (window.rows, len(window.pieces)) == (1000, 10)


def test_the_answer_may_be_written_into() -> None:
    order = make_order([10, 10], window_rows=20)
    rows = rows_between(order, 0, 0, 20)
    before = rows.copy()
    rows[:] = 0
    assert rows_between(order, 0, 0, 20).tolist() == before.tolist()


def test_no_rows_lie_past_the_end_of_an_epoch() -> None:
    order = make_order([10, 10], window_rows=20)
    assert rows_between(order, 0, 20, 30).tolist() == []
    assert rows_between(order, 0, 15, 10).tolist() == []


def test_the_shuffle_is_the_one_that_checkpoints_were_made_with() -> None:
    # A change of these values changes the order of every run: it must never come unnoticed.
    order = make_order([4, 3, 3], window_rows=5, seed=11)
    assert permutation_check() == "f3f03fa332c3243a"
    assert whole(order, 1).tolist() == [6, 7, 5, 8, 4, 2, 0, 1, 3, 9]
