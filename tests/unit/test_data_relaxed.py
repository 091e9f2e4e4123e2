"""A relaxed stream without Ray: superblocks in any sequence, each trained once, resumed anywhere.

Readers run in this process. What Ray does is made up: superblocks overtake each other within a
bound, also across the end of an epoch, and the blocks of each go to the ranks in turn.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.data.blocks import (
    PAYLOAD,
    SUPERBLOCK,
    gather_blocks,
    make_block,
    open_block,
    share_out,
)
from orchestrator.data.feed import Feed, LocalBatch
from orchestrator.data.parquet_index import index_parquet
from orchestrator.data.reader import MapStage, ReadStage, ShareStage, StageTask
from orchestrator.errors import DataError
from orchestrator.plan.geometry import StreamGeometry
from orchestrator.plan.open_epoch import OpenEpoch, windows_left
from orchestrator.plan.stages import Stage
from orchestrator.plan.stream import StreamPlan
from tests.support.orders import rows_between

ROWS = 67
EPOCHS = 3
# Six steps an epoch, the last one of 7 rows; three superblocks in two windows.
GEOMETRY = StreamGeometry(rows=ROWS, batch=12, lanes=12, superblock_steps=2, window_steps=4)
TOTAL = EPOCHS * GEOMETRY.steps_per_epoch
# Where the fixture's folder is, for what hypothesis and caches call.
PLACE: list[Path] = []


@pytest.fixture(scope="module", autouse=True)
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 67 rows in fragments of up to 20."""
    folder = tmp_path_factory.mktemp("relaxed")
    pq.write_table(pa.table({"id": np.arange(ROWS)}), folder / "a.parquet", row_group_size=20)
    PLACE[:] = [folder]
    read.cache_clear()
    return folder


STAGE = Stage(transforms=(), positions=(), cpus=1.0, gpus=0.0, workers=(1, 1), tasks_in_flight=1)


def make_stream(geometry: StreamGeometry = GEOMETRY, *, relaxed: bool = True) -> StreamPlan:
    return StreamPlan(
        split="train",
        index=index_parquet(["."], root=PLACE[0], columns=None, where="dataset.train"),
        geometry=geometry,
        stages=(STAGE, STAGE),
        seed=3,
        shuffle_fragments=True,
        shuffle_rows=False,
        epochs_differ=True,
        relaxed=relaxed,
    )


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Where a run stood: steps done, and what the checkpoint says beside them."""

    step: int = 0
    open_epoch: OpenEpoch | None = None


START = Stop()


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A global batch as it was trained: which of the order it is, and where it left the run."""

    place: tuple[int, int]
    rows: tuple[int, ...]
    after: Stop


def superblocks_of(geometry: StreamGeometry, stop: Stop, total: int) -> range:
    """As the plan of a job has them."""
    cursor = geometry.cursor(stop.step)
    if stop.open_epoch is not None:
        cursor = replace(cursor, step=stop.open_epoch.first_left)
    last = geometry.superblock_of(geometry.cursor(total - 1))
    return range(geometry.superblock_of(cursor), last + 1)


@cache
def read(
    geometry: StreamGeometry, workers: int, stop: Stop, total: int, relaxed: bool
) -> dict[int, list[pa.Table]]:
    """The blocks of each superblock that is left, one a rank, as the workers make them."""
    task = StageTask(
        stream=make_stream(geometry, relaxed=relaxed),
        position=0,
        root=PLACE[0],
        workers=workers,
        superblocks=superblocks_of(geometry, stop, total),
        open_epoch=stop.open_epoch,
    )
    reader, mapper, sharer = ReadStage(task), MapStage(replace(task, position=1)), ShareStage(task)
    found: dict[int, list[pa.Table]] = {}
    for number in range(len(windows_left(geometry, task.superblocks, stop.open_epoch))):
        for made in reader({"id": np.array([number])}):
            for mapped in mapper(made):
                shared = list(sharer(mapped)) if task.gathers else [mapped]
                found.setdefault(mapped[SUPERBLOCK][0].as_py(), []).extend(shared)
    assert {len(blocks) for blocks in found.values()} == {workers}
    return found


def overtaking(names: Sequence[int], delays: Sequence[int]) -> list[int]:
    """The names, each let through after as many others as its delay says."""
    order = sorted(range(len(names)), key=lambda place: place + delays[place % len(delays)])
    return [names[place] for place in order]


def make_feed(
    blocks: Sequence[pa.Table],
    geometry: StreamGeometry = GEOMETRY,
    *,
    rank: int = 0,
    workers: int = 1,
    stop: Stop = START,
    total: int = TOTAL,
    relaxed: bool = True,
) -> Feed:
    return Feed(
        blocks,
        geometry,
        rank=rank,
        workers=workers,
        first=geometry.cursor(stop.step),
        last_superblock=superblocks_of(geometry, stop, total).stop,
        end=geometry.cursor(total),
        open_epoch=stop.open_epoch,
        relaxed=relaxed,
    )


def train(
    geometry: StreamGeometry = GEOMETRY,
    *,
    workers: int,
    delays: Sequence[int] = (0,),
    stop: Stop = START,
    total: int = TOTAL,
    relaxed: bool = True,
) -> list[Trained]:
    """All batches of a run from a stop on, put together from the shares of its ranks."""
    made = read(geometry, workers, stop, total, relaxed)
    # Of a strict stream Ray keeps the order, so that there nothing overtakes.
    names = overtaking(list(made), delays) if relaxed else list(made)
    dealt = [block for name in names for block in made[name]]
    ranks = [
        make_feed(
            dealt[rank::workers],
            geometry,
            rank=rank,
            workers=workers,
            stop=stop,
            total=total,
            relaxed=relaxed,
        )
        for rank in range(workers)
    ]
    going = [
        put_together(geometry, shares, stop.step + number)
        for number, shares in enumerate(zip(*ranks, strict=True))
    ]
    assert len(going) == total - stop.step
    return going


def put_together(geometry: StreamGeometry, shares: tuple[LocalBatch, ...], number: int) -> Trained:
    first = shares[0]
    for share in shares:
        # Counted as it was trained, and by all ranks alike.
        assert (share.epoch, share.step) == divmod(number, geometry.steps_per_epoch)
        assert (share.superblock, share.offset) == (first.superblock, first.offset)
        assert (share.open_epoch, share.global_rows) == (first.open_epoch, first.global_rows)
        np.testing.assert_array_equal(share.columns["id"][: len(share.rows)], share.rows)
    rows = tuple(row for share in shares for row in share.rows.tolist())
    assert len(rows) == first.global_rows
    superblock = geometry.superblock(first.superblock)
    return Trained(
        place=(superblock.epoch, superblock.first_step + first.offset),
        rows=rows,
        after=Stop(step=number + 1, open_epoch=first.open_epoch),
    )


def check_whole(trained: list[Trained], geometry: StreamGeometry = GEOMETRY) -> None:
    """The batches of the order are there, each once, epoch after epoch."""
    order, batch = make_stream().sample_order(), geometry.batch
    for one in trained:
        epoch, step = one.place
        assert one.rows == tuple(rows_between(order, epoch, step * batch, (step + 1) * batch))
    places = [one.place for one in trained]
    assert [epoch for epoch, _ in places] == sorted(epoch for epoch, _ in places)
    assert sorted(places) == [divmod(n, geometry.steps_per_epoch) for n in range(len(places))]


DELAYS = st.lists(st.integers(0, 7), min_size=1, max_size=9)


@settings(max_examples=30)
@given(
    lanes=st.sampled_from([1, 2, 3, 5]),
    lane_rows=st.integers(2, 6),
    attempts=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 3), DELAYS), min_size=2, max_size=4
    ),
    data=st.data(),
)
def test_each_batch_is_trained_once_whatever_overtakes_and_wherever_the_run_stops(
    lanes: int, lane_rows: int, attempts: list[tuple[int, int, list[int]]], data: st.DataObject
) -> None:
    geometry = StreamGeometry(
        rows=ROWS, batch=lanes * lane_rows, lanes=lanes, superblock_steps=1, window_steps=1
    )
    # It may end inside of an epoch: then with the first batches of its order.
    total = data.draw(st.integers(1, 2 * geometry.steps_per_epoch), label="total")
    trained: list[Trained] = []
    for number, (size, windows, delays) in enumerate(attempts, start=1):
        # How steps travel is no part of the order, and may change from one attempt to the next.
        geometry = replace(geometry, superblock_steps=size, window_steps=size * windows)
        workers = data.draw(st.integers(1, lanes), label="workers")
        relaxed = data.draw(st.booleans(), label="relaxed")
        going = train(
            geometry,
            workers=workers,
            delays=delays,
            stop=trained[-1].after if trained else START,
            total=total,
            relaxed=relaxed,
        )
        last = number == len(attempts)
        upto = len(going) if last else data.draw(st.integers(0, len(going) - 1), label="upto")
        trained += going[:upto]
    check_whole(trained, geometry)


@pytest.mark.parametrize("after", [1, 2, 5])
@pytest.mark.parametrize("before", [1, 3, 12])
def test_a_run_stopped_at_any_step_goes_on_with_any_workers(before: int, after: int) -> None:
    # The second window overtakes the first, and one of the next epoch both.
    done = train(workers=before, delays=[3, 3, 0, 2])
    assert [one.place[1] for one in done[:6]] == [4, 5, 0, 1, 2, 3]
    for step in range(len(done)):
        stop = done[step - 1].after if step else START
        for relaxed in (True, False):
            rest = train(workers=after, delays=[2, 0], stop=stop, relaxed=relaxed)
            check_whole(done[:step] + rest)


def test_a_strict_order_does_the_rest_of_a_relaxed_epoch_from_its_start() -> None:
    done = train(workers=2, delays=[3, 3, 0, 2])
    rest = train(workers=2, stop=done[2].after, relaxed=False)
    assert done[2].after == Stop(step=3, open_epoch=OpenEpoch(epoch=0, done=((0, 1), (4, 6))))
    assert [one.place for one in rest[:4]] == [(0, 1), (0, 2), (0, 3), (1, 0)]
    assert rest[2].after == Stop(step=6)


def test_a_strict_stream_needs_no_more_than_its_step() -> None:
    assert {one.after.open_epoch for one in train(workers=3, relaxed=False)} == {None}
    # Nor does a relaxed one in which nothing was overtaken.
    assert {one.after.open_epoch for one in train(workers=3)} == {None}


def test_the_short_batch_of_an_epoch_may_come_in_the_middle() -> None:
    done = train(workers=5, delays=[3, 3, 0, 2])
    assert [len(one.rows) for one in done[:6]] == [12, 7, 12, 12, 12, 12]


def test_a_resumed_stream_reads_no_window_that_is_done() -> None:
    geometry = replace(GEOMETRY, window_steps=2)
    opened = OpenEpoch(epoch=1, done=((0, 2), (3, 6)))
    superblocks = range(4, 9)
    assert windows_left(geometry, superblocks, opened).tolist() == [4, 6, 7, 8]
    assert windows_left(geometry, range(4, 5), opened).tolist() == [4]
    assert windows_left(geometry, superblocks, None).tolist() == [4, 5, 6, 7, 8]
    stop = Stop(step=11, open_epoch=opened)
    assert list(read(geometry, 2, stop, TOTAL, True)) == [4, 6, 7, 8]


def test_what_comes_early_of_later_epochs_waits_in_the_sequence_in_which_it_came() -> None:
    made = read(GEOMETRY, 1, START, TOTAL, True)
    sequence = [7, 4, 0, 6, 2, 5, 1, 3, 8]
    feed = make_feed([block for name in sequence for block in made[name]])
    trained = [batch.superblock for batch in feed if batch.offset == 0]
    assert trained == [0, 2, 1, 4, 5, 3, 7, 6, 8]


def truncated(block: pa.Table) -> pa.Table:
    (share,) = open_block(block)
    columns = {name: column[:-1] for name, column in share.columns.items()}
    return make_block(
        replace(share, columns=columns, origins=share.origins.take(slice(len(share.origins) - 1)))
    )


# What happens to the blocks of rank 1 of 2, superblock after superblock, and what is said of it.
FAULTS = {
    "repeated at once": (
        lambda mine, _: [mine[1], mine[1], *mine],
        r"superblock 1 came to rank 1 though it is done or none of this stream; wanted superblock"
        r" 0, 2 for rank 1",
    ),
    "repeated early": (
        lambda mine, _: [mine[5], mine[5], *mine],
        r"superblock 5 came to rank 1 though it is done",
    ),
    "repeated though later than all that are left": (
        lambda mine, _: [mine[2], mine[2], *mine[:2], *mine[3:]],
        r"superblock 2 came to rank 1 though it is done",
    ),
    "repeated in the next epoch": (
        lambda mine, _: [*mine[:4], mine[2], *mine[4:]],
        r"superblock 2 came to rank 1 though it is done",
    ),
    "another rank's": (
        lambda mine, other: [mine[0], other[2], *mine[1:]],
        r"out of order: got superblock 2 for rank 0, wanted superblock 1, 2 for rank 1",
    ),
    "missing": (
        lambda mine, _: [*mine[:4], *mine[5:]],
        r"the stream ended before superblock 4 for rank 1: rows would be lost",
    ),
    "ended": (
        lambda mine, _: mine[:3],
        r"the stream ended before superblock 3, 4, 5 for rank 1: rows would be lost",
    ),
    "too short": (
        lambda mine, _: [truncated(mine[4]), *mine],
        r"superblock 4 for rank 1 holds 11 rows instead of 12",
    ),
    "two in one": (
        lambda mine, _: [pa.concat_tables(mine[:2])],
        r"the block of superblock 0, 1, 2 for rank 1 holds 2 cells instead of one",
    ),
}


@pytest.mark.parametrize(("change", "message"), FAULTS.values(), ids=FAULTS)
def test_a_fault_of_the_delivery_ends_the_stream_and_is_named(
    change: Callable[[list[pa.Table], list[pa.Table]], list[pa.Table]], message: str
) -> None:
    made = read(GEOMETRY, 2, START, TOTAL, True)
    mine, other = ([blocks[rank] for blocks in made.values()] for rank in (1, 0))
    feed = make_feed(change(mine, other), rank=1, workers=2)
    with pytest.raises(DataError, match=message):
        list(feed)


def test_many_missing_superblocks_are_named_in_short() -> None:
    geometry = replace(GEOMETRY, batch=4, lanes=4, superblock_steps=1)
    total = geometry.steps_per_epoch
    with pytest.raises(DataError, match="superblock 0, 1, 2, 3, 4 or 12 others for rank 0"):
        list(make_feed([], geometry, total=total))


def test_a_superblock_that_was_done_before_the_run_was_resumed_is_refused() -> None:
    stop = Stop(step=2, open_epoch=OpenEpoch(epoch=0, done=((2, 4),)))
    made = read(GEOMETRY, 1, START, TOTAL, True)
    with pytest.raises(DataError, match="superblock 1 came to rank 0 though it is done"):
        list(make_feed([*made[0], *made[1]], stop=stop))


def test_blocks_that_travel_together_are_the_same_as_those_of_a_strict_stream() -> None:
    together, apart = (read(GEOMETRY, 5, START, TOTAL, relaxed) for relaxed in (True, False))
    assert together == apart
    gathered = gather_blocks(apart[2])
    assert gathered.num_rows == 1
    assert list(share_out(gathered)) == apart[2]
    # Without a copy: a superblock may be large.
    addresses = [table[PAYLOAD].chunk(0).buffers()[2].address for table in apart[2]]
    assert addresses == [b[PAYLOAD].chunk(0).buffers()[2].address for b in share_out(gathered)]
