"""How a stream is cut: every cut is a partition, and none changes what is in a global batch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.plan.geometry import (
    MOST_LANES,
    Cursor,
    StreamGeometry,
    choose_superblock_steps,
    choose_window_steps,
    cut_stream,
    default_lanes,
    fewest_lanes,
    nearest_batches,
    share_well,
)


@st.composite
def geometries(draw: st.DrawFn) -> StreamGeometry:
    lanes = draw(st.integers(1, 9))
    size = draw(st.integers(1, 5))
    return StreamGeometry(
        rows=draw(st.integers(1, 300)),
        batch=lanes * draw(st.integers(1, 4)),
        lanes=lanes,
        superblock_steps=size,
        window_steps=size * draw(st.integers(1, 4)),
    )


@pytest.mark.parametrize("lanes", [1, 2, 7, 12, 32])
def test_lanes_are_dealt_out_without_gap_or_overlap_to_any_number_of_workers(lanes: int) -> None:
    geometry = StreamGeometry(
        rows=100, batch=lanes, lanes=lanes, superblock_steps=1, window_steps=1
    )
    for workers in range(1, lanes + 1):
        shares = [geometry.lanes_of(rank, workers) for rank in range(workers)]
        assert [lane for share in shares for lane in share] == list(range(lanes))
        sizes = {len(share) for share in shares}
        assert sizes <= {lanes // workers, -(-lanes // workers)}


@given(geometries())
def test_the_shares_of_all_ranks_are_the_global_batch_in_order(geometry: StreamGeometry) -> None:
    for workers in range(1, geometry.lanes + 1):
        for step in range(geometry.steps_per_epoch):
            spans = [geometry.rank_span(step, rank, workers) for rank in range(workers)]
            positions = [place for start, stop in spans for place in range(start, stop)]
            first = step * geometry.batch
            assert positions == list(range(first, min(first + geometry.batch, geometry.rows)))
            assert geometry.step_rows(step) == len(positions)


@given(geometries(), st.integers(0, 2))
def test_superblocks_tile_an_epoch(geometry: StreamGeometry, epoch: int) -> None:
    count = geometry.superblocks_per_epoch
    superblocks = [geometry.superblock(epoch * count + place) for place in range(count)]
    steps = [
        step
        for superblock in superblocks
        for step in range(superblock.first_step, superblock.first_step + superblock.steps)
    ]
    assert steps == list(range(geometry.steps_per_epoch))
    assert {superblock.epoch for superblock in superblocks} == {epoch}
    assert [superblock.number for superblock in superblocks] == list(
        range(epoch * count, (epoch + 1) * count)
    )


@given(geometries())
def test_windows_tile_the_superblocks_and_each_knows_its_window(geometry: StreamGeometry) -> None:
    windows = 3 * geometry.windows_per_epoch
    seen = []
    for window in range(windows):
        superblocks = geometry.superblocks_of_window(window)
        assert len(superblocks)
        assert {geometry.window_of(number) for number in superblocks} == {window}
        epoch, inside = divmod(window, geometry.windows_per_epoch)
        first = geometry.superblock(superblocks[0])
        assert (first.epoch, first.first_step) == (epoch, inside * geometry.window_steps)
        seen += superblocks
    assert seen == list(range(3 * geometry.superblocks_per_epoch))


@given(geometries(), st.integers(0, 500))
def test_a_step_lies_in_the_superblock_of_its_cursor(
    geometry: StreamGeometry, global_step: int
) -> None:
    cursor = geometry.cursor(global_step)
    assert cursor.epoch * geometry.steps_per_epoch + cursor.step == global_step
    assert 0 <= cursor.step < geometry.steps_per_epoch
    superblock = geometry.superblock(geometry.superblock_of(cursor))
    assert superblock.epoch == cursor.epoch
    assert 0 <= cursor.step - superblock.first_step < superblock.steps


@given(st.integers(1, 300), st.sampled_from([12, 24, 60]), st.data())
def test_neither_lanes_nor_superblocks_change_the_rows_of_a_step(
    rows: int, batch: int, data: st.DataObject
) -> None:
    divisors = [lanes for lanes in range(1, batch + 1) if batch % lanes == 0]
    spans = set()
    for _ in range(3):
        geometry = StreamGeometry(
            rows=rows,
            batch=batch,
            lanes=data.draw(st.sampled_from(divisors)),
            superblock_steps=data.draw(st.integers(1, 8)),
            window_steps=8,
        )
        workers = data.draw(st.integers(1, geometry.lanes))
        spans.add(
            tuple(
                (
                    geometry.rank_span(step, 0, workers)[0],
                    geometry.rank_span(step, workers - 1, workers)[1],
                )
                for step in range(geometry.steps_per_epoch)
            )
        )
    assert len(spans) == 1


@pytest.mark.parametrize(
    ("batch", "lanes"),
    [(1, 1), (7, 7), (32, 32), (33, 11), (37, 1), (64, 32), (100, 25), (1024, 32)],
)
def test_lanes_are_the_largest_divisor_of_the_batch_up_to_32(batch: int, lanes: int) -> None:
    assert default_lanes(batch) == lanes
    assert lanes <= MOST_LANES


@pytest.mark.parametrize(
    ("steps_per_epoch", "batch", "window_rows", "steps"),
    [
        (1000, 10, 1, 1),
        (1000, 10, 80, 8),
        (1000, 10, 81, 16),
        (1000, 10, 1000, 104),
        (100, 10, 1000, 100),
        (12, 10, 95, 12),
        (1, 10, 3, 1),
    ],
)
def test_a_window_holds_the_rows_asked_for_and_never_more_than_an_epoch(
    steps_per_epoch: int, batch: int, window_rows: int, steps: int
) -> None:
    chosen = choose_window_steps(
        steps_per_epoch=steps_per_epoch, batch=batch, window_rows=window_rows
    )
    assert chosen == steps


@given(st.integers(1, 200), st.integers(1, 300), st.integers(1, 64))
def test_the_chosen_superblock_divides_the_window_and_keeps_to_the_limit(
    window_steps: int, steps_per_epoch: int, most: int
) -> None:
    window_steps = min(window_steps, steps_per_epoch)
    size = choose_superblock_steps(
        steps_per_epoch=steps_per_epoch, window_steps=window_steps, most=most
    )
    assert 1 <= size <= most
    if window_steps < steps_per_epoch:
        assert window_steps % size == 0
        larger = range(size + 1, min(most, window_steps) + 1)
        assert not any(window_steps % other == 0 for other in larger)
    else:
        # As few pieces as the limit allows, and the last one hardly shorter than the others.
        pieces = -(-steps_per_epoch // size)
        assert pieces == -(-steps_per_epoch // most)
        assert pieces * size - steps_per_epoch < pieces


@given(
    st.integers(1, 2000),
    st.integers(1, 40),
    st.integers(1, 3000),
    st.one_of(st.none(), st.integers(1, 30)),
)
def test_a_window_that_does_not_decide_the_order_always_has_room_for_whole_superblocks(
    rows: int, batch: int, window_rows: int, superblock_steps: int | None
) -> None:
    geometry = cut_stream(
        rows=rows,
        batch=batch,
        lanes=1,
        window_rows=window_rows,
        window_is_order=False,
        superblock_steps=superblock_steps,
        most_superblock_steps=16,
    )
    assert geometry.window_steps % geometry.superblock_steps == 0
    assert geometry.window_steps * batch >= min(rows, window_rows)


@given(st.integers(1, 2000), st.integers(1, 40), st.integers(1, 3000), st.integers(1, 64))
def test_the_size_of_a_superblock_never_moves_the_windows_that_decide_the_order(
    rows: int, batch: int, window_rows: int, most: int
) -> None:
    def windows(superblock_steps: int | None) -> list[int]:
        geometry = cut_stream(
            rows=rows,
            batch=batch,
            lanes=1,
            window_rows=window_rows,
            window_is_order=True,
            superblock_steps=superblock_steps,
            most_superblock_steps=most,
        )
        window = geometry.window_steps * batch
        return [min(rows, start + window) for start in range(0, rows, window)]

    assert windows(None) == windows(1) == windows(3)


def test_the_last_step_of_an_epoch_takes_what_is_left() -> None:
    geometry = StreamGeometry(rows=100, batch=32, lanes=4, superblock_steps=2, window_steps=2)
    assert [geometry.step_rows(step) for step in range(4)] == [32, 32, 32, 4]
    assert [geometry.rank_span(3, rank, 2) for rank in range(2)] == [(96, 100), (100, 100)]
    assert geometry.cursor(9) == Cursor(epoch=2, step=1)


@pytest.mark.parametrize(
    ("lanes", "workers", "well"),
    [(1, 1, True), (1, 2, False), (2, 2, True), (3, 2, False), (5, 2, False), (7, 2, True)],
)
def test_lanes_are_shared_well_where_nobody_has_half_as_many_again(
    lanes: int, workers: int, well: bool
) -> None:
    assert share_well(lanes, workers) is well


@given(st.integers(1, 3000), st.integers(1, 40))
def test_the_nearest_useful_batches_are_useful_and_none_lies_between(
    batch: int, workers: int
) -> None:
    found = nearest_batches(batch, workers)
    assert all(share_well(default_lanes(size), workers) for size in found)
    if workers > MOST_LANES:
        assert not found
        return
    below, above = [size for size in found if size < batch], [s for s in found if s > batch]
    assert len(below) <= 1
    assert len(above) == 1
    between = range(max([0, *below]) + 1 if below else max(1, batch - 999), above[0])
    assert not any(share_well(default_lanes(size), workers) for size in between if size != batch)


@given(st.integers(1, 3000), st.integers(1, 40))
def test_the_fewest_lanes_divide_the_batch_and_are_shared_well(batch: int, workers: int) -> None:
    lanes = fewest_lanes(batch, workers)
    every = [n for n in range(1, batch + 1) if batch % n == 0 and share_well(n, workers)]
    if lanes is None:
        assert batch not in every
    else:
        assert lanes in every
        assert lanes == every[0] or lanes > workers + 1000
