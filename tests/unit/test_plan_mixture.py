"""The order of a mixture: whose turn it is, which row comes, and how often each source came."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import PlanError
from orchestrator.plan.accounts import EpochOrigins
from orchestrator.plan.mixture import MixedOrder
from orchestrator.plan.pattern import SLOTS, TakingTurns, Weights, share_out
from tests.support.mixtures import KINDS, make_mixed_order, weights_by_phase
from tests.support.orders import rows_between

one_unit = st.just(1)
kinds = st.sampled_from(sorted(KINDS))
fragments = st.lists(st.integers(0, 9), min_size=1, max_size=4).filter(any)


@st.composite
def mixed_orders(
    draw: st.DrawFn, row_units: st.SearchStrategy[int] = one_unit
) -> tuple[MixedOrder, list[list[int]]]:
    sources = draw(st.lists(fragments, min_size=1, max_size=4))
    order = make_mixed_order(
        sources,
        *draw(weights_by_phase(len(sources))),
        kind=draw(kinds),
        window_rows=draw(st.integers(1, 40)),
        seed=draw(st.integers(0, 2**53)),
        row_units=draw(row_units),
    )
    return order, sources


def source_of(sources: list[list[int]]) -> np.ndarray:
    """The source of each row of the index."""
    return np.repeat(np.arange(len(sources)), [sum(sizes) for sizes in sources])


@settings(max_examples=40)
@given(mixed_orders(), st.integers(1, 4))
def test_every_pass_over_a_source_has_each_of_its_rows_once(
    made: tuple[MixedOrder, list[list[int]]], epochs: int
) -> None:
    order, sources = made
    assert order.rows == sum(map(sum, sources))
    found = [EpochOrigins(order).between(epoch, 0, order.rows) for epoch in range(epochs)]
    seen = Counter(
        (row, source_pass)
        for origins in found
        for row, source_pass in zip(origins.rows.tolist(), origins.passes.tolist(), strict=True)
    )
    assert max(seen.values()) == 1
    progress = order.progress(epochs * order.rows)
    assert sum(source.samples for source in progress) == epochs * order.rows == len(seen)
    first = 0
    for source, sizes in zip(progress, sources, strict=True):
        rows = range(first, first + sum(sizes))
        first = rows.stop
        assert source.pass_samples == len(rows)
        assert source.rest < len(rows)
        for number in range(source.passes):
            assert all((row, number) in seen for row in rows)
        assert sum((row, source.passes) in seen for row in rows) == source.rest
        assert not any((row, source.passes + 1) in seen for row in rows)


@settings(max_examples=40)
@given(
    st.lists(fragments, min_size=3, max_size=3),
    weights_by_phase(3),
    kinds,
    st.lists(st.integers(1, 50), min_size=2, max_size=3),
    st.integers(0, 3),
)
def test_windows_cut_the_stream_and_do_not_change_whose_turn_it_is(
    sources: list[list[int]],
    phases: list[tuple[int, Weights]],
    kind: str,
    sizes: list[int],
    epoch: int,
) -> None:
    owners = source_of(sources)
    found = set()
    for size in sizes:
        order = make_mixed_order(sources, *phases, kind=kind, window_rows=size)
        rows = rows_between(order, epoch, 0, order.rows)
        turns = TakingTurns(phases).sources(epoch * order.rows, (epoch + 1) * order.rows)
        assert owners[rows].tolist() == turns.tolist()
        found.add(tuple(owners[rows].tolist()))
    assert len(found) == 1


@settings(max_examples=40)
@given(mixed_orders(), st.integers(0, 2), st.data())
def test_origins_between_two_positions_are_a_slice_of_the_epoch(
    made: tuple[MixedOrder, list[list[int]]], epoch: int, data: st.DataObject
) -> None:
    order, _ = made
    start = data.draw(st.integers(0, order.rows))
    stop = data.draw(st.integers(start, order.rows + 5))
    whole = EpochOrigins(order).between(epoch, 0, order.rows)
    part = EpochOrigins(order).between(epoch, start, stop)
    assert part.rows.tolist() == whole.rows[start:stop].tolist()
    assert part.passes.tolist() == whole.passes[start:stop].tolist()


@settings(max_examples=40)
@given(mixed_orders(), st.integers(0, 2))
def test_a_window_has_the_rows_of_its_pieces_and_knows_their_passes(
    made: tuple[MixedOrder, list[list[int]]], epoch: int
) -> None:
    order, _ = made
    for number in range(order.windows):
        window = order.window(epoch, number)
        counts = [segment.units for segment in window.segments]
        arranged = window.arrange(counts)
        assert sorted(arranged.tolist()) == list(range(window.rows))
        stop = window.start + window.rows
        there = EpochOrigins(order).between(epoch, window.start, stop)
        assert order.unit_numbers(window.pieces)[arranged].tolist() == there.rows.tolist()
        assert order.passes(window, counts)[arranged].tolist() == there.passes.tolist()


@settings(max_examples=40)
@given(mixed_orders(), st.integers(0, 2))
def test_read_amplification_is_what_windows_read_for_what_they_use(
    made: tuple[MixedOrder, list[list[int]]], epoch: int
) -> None:
    order, sources = made
    sizes = [size for source in sources for size in source]
    read = sum(
        sizes[fragment]
        for number in range(order.windows)
        for fragment in {piece.fragment for piece in order.window(epoch, number).pieces}
    )
    if order.windows <= 16:
        assert order.read_amplification(epoch) == pytest.approx(read / order.rows)


@settings(max_examples=40)
@given(mixed_orders(row_units=st.integers(2, 7)), st.integers(1, 3))
def test_packed_samples_never_straddle_a_pass_and_leave_no_unit_out(
    made: tuple[MixedOrder, list[list[int]]], epochs: int
) -> None:
    order, sources = made
    units = [sum(sizes) for sizes in sources]
    assert order.units == sum(units)
    assert order.rows == sum(-(-count // order.row_units) for count in units)
    seen: Counter[tuple[int, int]] = Counter()
    for epoch in range(epochs):
        for number in range(order.windows):
            window = order.window(epoch, number)
            samples = [-(-segment.units // order.row_units) for segment in window.segments]
            assert sum(samples) == window.rows
            assert len(window.arrange(samples)) == window.rows
            for segment in window.segments:
                numbers = order.unit_numbers(segment.pieces).tolist()
                seen.update((unit, segment.source_pass) for unit in numbers)
    assert max(seen.values()) == 1
    first = 0
    for source, count in zip(order.progress(epochs * order.rows), units, strict=True):
        used = min(source.rest * order.row_units, count)
        of_source = [unit for unit, _ in seen if first <= unit < first + count]
        assert len(of_source) == source.passes * count + used
        first += count


@pytest.mark.parametrize("kind", ["none", "fragments"])
def test_without_a_shuffle_of_rows_each_source_keeps_its_own_order(kind: str) -> None:
    sources = [[5, 7, 6], [4, 9]]
    order = make_mixed_order(sources, (0, (0.3, 0.7)), kind=kind, window_rows=7)
    owners = source_of(sources)
    rows = np.concatenate([rows_between(order, epoch, 0, order.rows) for epoch in range(4)])
    for number, sizes in enumerate(sources):
        mine = rows[owners[rows] == number]
        for start in range(0, len(mine) - sum(sizes) + 1, sum(sizes)):
            one_pass = mine[start : start + sum(sizes)].tolist()
            breaks = sum(b != a + 1 for a, b in pairwise(one_pass))
            assert breaks == 0 if kind == "none" else breaks <= len(sizes) - 1


def test_a_source_is_shuffled_as_a_data_set_of_its_own() -> None:
    order = make_mixed_order([[50, 50], [50, 50]], (0, (1.0, 1.0)), window_rows=200)
    rows = rows_between(order, 0, 0, 200)
    one, other = rows[rows < 100], rows[rows >= 100] - 100
    assert sorted(one.tolist()) == sorted(other.tolist()) == list(range(100))
    assert one.tolist() != other.tolist()
    again = rows_between(order, 1, 0, 200)
    assert again[again < 100].tolist() != one.tolist()


def test_the_order_of_a_source_does_not_depend_on_the_others() -> None:
    (alone, beside) = (
        make_mixed_order(sources, (0, weights), kind="fragments", window_rows=1000)
        for sources, weights in (([[10] * 9], (1.0,)), ([[10] * 9, [30]], (1.0, 0.5)))
    )
    rows = rows_between(beside, 0, 0, 120)
    assert rows[rows < 90][:70].tolist() == rows_between(alone, 0, 0, 90)[:70].tolist()


def test_a_schedule_begins_at_its_very_row_through_the_epochs() -> None:
    order = make_mixed_order([[30], [20]], (0, (1.0, 0.0)), (73, (0.0, 1.0)), window_rows=8)
    owners = source_of([[30], [20]])
    rows = [row for epoch in (0, 1) for row in rows_between(order, epoch, 0, 50).tolist()]
    assert owners[rows].tolist() == [0] * 73 + [1] * 27


def test_proportions_hold_in_any_stretch_of_a_run() -> None:
    weights = (0.6, 0.3, 0.1)
    order = make_mixed_order([[400], [300], [300]], (0, weights), window_rows=64)
    rows = np.concatenate([rows_between(order, epoch, 0, 1000) for epoch in range(3)])
    owners = source_of([[400], [300], [300]])[rows]
    shares = np.array(share_out(weights)) / SLOTS
    for start in range(0, 2900, 97):
        for length in (1, 10, 100):
            counts = np.bincount(owners[start : start + length], minlength=3)
            assert np.all(np.abs(counts - length * shares) <= 4)


def test_a_window_far_into_a_run_is_found_without_walking_there() -> None:
    order = make_mixed_order(
        [[100] * 20_000, [10] * 3], (0, (0.9, 0.1)), (10**9, (0.5, 0.5)), window_rows=1000
    )
    window = order.window(10**6, order.windows // 2)
    assert window.rows == 1000
    assert len(window.pieces) < 100


def test_progress_counts_passes_and_what_is_used_of_the_open_one() -> None:
    order = make_mixed_order([[10], [4]], (0, (1.0, 1.0)))
    first, second = order.progress(30)
    assert (first.name, first.passes, first.rest, first.samples) == ("s0", 1, 5, 15)
    assert (second.name, second.passes, second.rest, second.samples) == ("s1", 3, 3, 15)


def test_a_source_without_a_row_is_refused_by_name() -> None:
    with pytest.raises(PlanError, match=r"^dataset\.train\.sources\.s1: none of its rows is left"):
        make_mixed_order([[10], [0, 0]], (0, (1.0, 1.0)))


def test_the_order_is_the_one_that_checkpoints_were_made_with() -> None:
    # A change of these values changes the order of every mixture: it must never come unnoticed.
    order = make_mixed_order([[4, 3], [3]], (0, (0.6, 0.4)), window_rows=5, seed=11)
    assert rows_between(order, 1, 0, 10).tolist() == [6, 8, 5, 9, 4, 6, 8, 1, 7, 0]
