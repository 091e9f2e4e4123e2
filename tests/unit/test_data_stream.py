"""The stream without Ray: what readers make of windows, and what ranks make of blocks."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.data.blocks import SUPERBLOCK, make_block, open_block
from orchestrator.data.feed import Feed, LocalBatch, begin_early
from orchestrator.data.fitted import FittedState
from orchestrator.data.parquet_index import index_parquet
from orchestrator.data.random import RowRandom
from orchestrator.data.reader import STAND_IN_ROWS, ReadStage, StageTask
from orchestrator.errors import DataError
from orchestrator.plan.geometry import Cursor, StreamGeometry
from orchestrator.plan.index import DatasetIndex
from orchestrator.plan.origins import Origins
from orchestrator.plan.stages import Stage
from orchestrator.plan.stream import StreamPlan
from orchestrator.spec.transform import TransformSpec
from tests.support import streams
from tests.support.orders import rows_between
from tests.support.streams import Batch

MODULE = "stream_transforms_under_test"
CODE = """
def draw(batch, rng):
    return {**batch, "drawn": rng.random(2)}

class Move:
    def __init__(self, by):
        self.by = by
    def __call__(self, batch, rng):
        batch["x"] += self.by  # into what it was given
        return {**batch, "moved": rng.normal()}

def twin(batch, rng):
    return {**batch, f"twin{sum(name.startswith('twin') for name in batch)}": rng.random()}

def refuse(batch):
    bad = (batch["id"] == 31).any() or (batch["id"] == 44).any()
    batch["id"] += 100  # into what it was given
    if bad:
        raise ValueError("cursed")
    return batch

class Centre:
    def measure(self, batch): ...
    def fit(self, measures): ...
    def load(self, state):
        self.mean = state["mean"]
    def __call__(self, batch):
        return {**batch, "centred": batch["x"] - self.mean}

def takes_our_name(batch):
    return {**batch, "_row": batch["id"]}
"""
ROWS = 67
EPOCHS = 3
# Six steps of 12 rows, the last one of 7.
GEOMETRY = StreamGeometry(rows=ROWS, batch=12, lanes=12, superblock_steps=2, window_steps=2)
KINDS = {"none": (False, False), "fragments": (True, False), "window": (True, True)}


@pytest.fixture(scope="module", autouse=True)
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with transforms and with 67 rows in fragments of 1 to 20 rows."""
    folder = tmp_path_factory.mktemp("job")
    (folder / f"{MODULE}.py").write_text(CODE)
    ids, start = np.arange(ROWS), 0
    for name, rows, row_group in [("a", 27, 20), ("b", 1, 1), ("c", 26, 9), ("d", 13, 20)]:
        part = ids[start : start + rows]
        table = pa.table(
            {
                "id": part,
                "x": pa.FixedSizeListArray.from_arrays(pa.array(np.repeat(part * 10.0, 3)), 3),
                "word": [f"word {number}" if number % 5 else None for number in part],
            }
        )
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=row_group)
        start += rows
    path = list(sys.path)
    PLACE.append(folder)
    yield folder
    sys.path[:] = path
    sys.modules.pop(MODULE, None)
    PLACE.clear()
    for cached in (index, run_whole):
        cached.cache_clear()


# Where the fixture's folder is, for what hypothesis and caches call.
PLACE: list[Path] = []


@cache
def index() -> DatasetIndex:
    return index_parquet(["."], root=PLACE[0], columns=None, where="dataset.train")


def stage(*uses: str, **arguments: object) -> Stage:
    return Stage(
        transforms=tuple(
            TransformSpec.model_validate({"use": f"{MODULE}:{use}", "with": arguments})
            for use in uses
        ),
        positions=tuple(range(1, len(uses) + 1)),
        cpus=1.0,
        gpus=0.0,
        workers=(1, 1),
        tasks_in_flight=1,
    )


STAGES = (stage("draw"), stage("Move", by=0.5))


def make_stream(
    geometry: StreamGeometry = GEOMETRY,
    kind: str = "window",
    *,
    seed: int = 3,
    stages: tuple[Stage, ...] = STAGES,
    epochs_differ: bool = True,
) -> StreamPlan:
    fragments, rows = KINDS[kind]
    return StreamPlan(
        split="train",
        index=index(),
        geometry=geometry,
        stages=stages,
        seed=seed,
        shuffle_fragments=fragments,
        shuffle_rows=rows,
        epochs_differ=epochs_differ,
    )


def blocks_of(stream: StreamPlan, workers: int, superblocks: range) -> Iterator[pa.Table]:
    return streams.blocks_of(stream, workers, superblocks, root=PLACE[0])


def feeds(stream: StreamPlan, workers: int, *, step: int, total: int) -> list[list[LocalBatch]]:
    return streams.feeds(stream, workers, step=step, total=total, root=PLACE[0])


def run(
    stream: StreamPlan, workers: int, *, step: int = 0, total: int | None = None
) -> list[Batch]:
    total = total or EPOCHS * stream.geometry.steps_per_epoch
    return streams.run(stream, workers, step=step, total=total, root=PLACE[0])


@cache
def run_whole(kind: str = "window", workers: int = 1) -> list[Batch]:
    return run(make_stream(kind=kind), workers)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [1, 2, 3, 5, 8, 12])
def test_every_global_batch_holds_the_rows_of_the_order_in_that_order(
    kind: str, workers: int
) -> None:
    order = make_stream(kind=kind).sample_order()
    batches = run_whole(kind, workers)
    assert [(epoch, step) for epoch, step, _ in batches] == [
        (epoch, step) for epoch in range(EPOCHS) for step in range(6)
    ]
    for epoch, step, columns in batches:
        assert columns["row"] == rows_between(order, epoch, step * 12, (step + 1) * 12).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_columns_belong_to_their_rows_after_every_stage(kind: str) -> None:
    for epoch, _, columns in run_whole(kind):
        rows = np.array(columns["row"])
        assert columns["id"] == columns["row"]
        assert columns["x"] == [[row * 10 + 0.5] * 3 for row in columns["row"]]
        assert columns["word"] == [f"word {row}" if row % 5 else None for row in rows]
        drawn = RowRandom(3, epoch, rows, transform=f"{MODULE}:draw").random(2)
        assert columns["drawn"] == drawn.tolist()
        moved = RowRandom(3, epoch, rows, transform=f"{MODULE}:Move").normal()
        assert columns["moved"] == moved.tolist()


@pytest.mark.parametrize("workers", [2, 3, 5, 7, 12])
def test_augmentation_does_not_know_the_number_of_workers(workers: int) -> None:
    assert run_whole("window", workers) == run_whole("window", 1)


@pytest.mark.parametrize("after", [1, 2, 5, 12])
@pytest.mark.parametrize("before", [1, 3, 12])
def test_a_run_stopped_at_any_step_goes_on_the_same_with_any_workers(
    before: int, after: int
) -> None:
    whole = run_whole("window", 1)
    done = run_whole("window", before)
    for step in range(len(whole)):
        assert done[:step] + resumed(after, step) == whole


@cache
def resumed(workers: int, step: int) -> list[Batch]:
    return run(make_stream(), workers, step=step)


@settings(max_examples=40)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    lanes=st.sampled_from([1, 2, 3, 5]),
    lane_rows=st.integers(1, 6),
    superblock_steps=st.integers(1, 5),
    windows=st.integers(1, 4),
    transforms_first=st.booleans(),
    data=st.data(),
)
def test_any_cut_at_any_step_for_any_workers_gives_the_same_batches(
    kind: str,
    lanes: int,
    lane_rows: int,
    superblock_steps: int,
    windows: int,
    transforms_first: bool,
    data: st.DataObject,
) -> None:
    geometry = StreamGeometry(
        rows=ROWS,
        batch=lanes * lane_rows,
        lanes=lanes,
        superblock_steps=superblock_steps,
        window_steps=superblock_steps * windows,
    )
    stream = replace(make_stream(geometry, kind), transforms_first=transforms_first)
    order = stream.sample_order()
    total = 2 * geometry.steps_per_epoch
    step = data.draw(st.integers(0, total - 1), label="step")
    workers = data.draw(st.integers(1, lanes), label="workers")
    # It may stop inside of an epoch, too: whole superblocks come, and no more.
    until = data.draw(st.integers(step + 1, total), label="until")
    batches = run(stream, workers, step=step, total=until)
    assert len(batches) >= until - step
    for number, (epoch, inside, columns) in enumerate(batches, start=step):
        assert (epoch, inside) == divmod(number, geometry.steps_per_epoch)
        first = inside * geometry.batch
        assert columns["row"] == rows_between(order, epoch, first, first + geometry.batch).tolist()
        assert columns["x"] == [[row * 10 + 0.5] * 3 for row in columns["row"]]


def by_row(batches: list[Batch]) -> dict[tuple[int, object], tuple[object, ...]]:
    return {
        (epoch, row): values
        for epoch, _, columns in batches
        for row, *values in zip(columns["row"], columns["drawn"], columns["moved"], strict=True)
    }


@pytest.mark.parametrize(
    "geometry",
    [
        replace(GEOMETRY, superblock_steps=1),
        replace(GEOMETRY, superblock_steps=6, window_steps=6),
        replace(GEOMETRY, batch=20, lanes=4, superblock_steps=3, window_steps=3),
    ],
)
def test_augmentation_does_not_know_how_the_stream_is_cut(geometry: StreamGeometry) -> None:
    assert by_row(run(make_stream(geometry), 2)) == by_row(run_whole())


def test_rows_are_the_same_in_order_before_or_after_the_transforms() -> None:
    stream = replace(make_stream(), transforms_first=True)
    assert run(stream, 2) == run_whole(workers=2)
    assert run(stream, 3, step=5) == run_whole()[5:]


def test_every_epoch_is_augmented_anew_and_every_row_once() -> None:
    drawn = by_row(run_whole())
    assert len(drawn) == len({str(values) for values in drawn.values()}) == EPOCHS * ROWS


def test_one_transform_used_twice_draws_twice() -> None:
    for stages in [(stage("twin", "twin", "twin"),), (stage("twin"),) * 3]:
        ((_, _, columns), *_) = run(make_stream(stages=stages), 2)
        texts = {str(columns[f"twin{number}"]) for number in range(3)}
        assert len(texts) == 3


def test_every_pass_over_the_validation_rows_is_the_same() -> None:
    batches = run(make_stream(kind="none", epochs_differ=False), 2)
    passes = [
        [columns for epoch, _, columns in batches if epoch == number] for number in range(EPOCHS)
    ]
    assert passes[0] == passes[1] == passes[2]
    assert [row for columns in passes[0] for row in columns["row"]] == list(range(ROWS))


def test_a_rank_without_rows_gets_stand_ins_that_count_for_nothing() -> None:
    seen = 0
    for rank, batches in enumerate(feeds(make_stream(), 12, step=0, total=6)):
        for batch in batches:
            assert batch.global_rows == (7 if batch.step == 5 else 12)
            if batch.step == 5 and rank >= 7:
                seen += 1
                assert len(batch.rows) == 0
                assert {len(column) for column in batch.columns.values()} == {STAND_IN_ROWS}
            else:
                assert len(batch.rows) == 1
                assert {len(column) for column in batch.columns.values()} == {1}
    assert seen == 5


def test_a_batch_is_a_view_of_its_block() -> None:
    stream = make_stream(stages=(stage(),))
    (block, *_) = blocks_of(stream, 1, range(3))
    first, second, *_ = Feed(
        [block], GEOMETRY, rank=0, workers=1, first=Cursor(epoch=0, step=0), last_superblock=1
    )
    for name in ("id", "x"):
        places = [batch.columns[name].__array_interface__["data"][0] for batch in (first, second)]
        assert places[1] - places[0] == first.columns[name].nbytes
        assert not first.columns[name].flags.owndata


def test_there_is_one_block_a_rank_and_superblock_in_turn() -> None:
    blocks = list(blocks_of(make_stream(), 5, range(1, 8)))
    found = [(share.superblock, share.rank) for block in blocks for share in open_block(block)]
    assert found == [(number, rank) for number in range(1, 8) for rank in range(5)]
    assert {block.num_rows for block in blocks} == {1}


def test_a_reader_takes_many_windows_at_once() -> None:
    stream = make_stream()
    task = StageTask(stream=stream, position=0, root=PLACE[0], workers=2, superblocks=range(4, 9))
    made = list(ReadStage(task)({"id": np.arange(5)}))
    assert [block[SUPERBLOCK][0].as_py() for block in made[::2]] == list(range(4, 9))


def truncated(block: pa.Table, rows: int) -> pa.Table:
    (share,) = open_block(block)
    columns = {name: column[:rows] for name, column in share.columns.items()}
    return make_block(replace(share, columns=columns, origins=share.origins.take(slice(rows))))


FAULTS = {
    "dropped": (
        lambda mine, _: [mine[0], *mine[2:]],
        r"out of order: got superblock 2 for rank 1, wanted superblock 1 for rank 1",
    ),
    "repeated": (
        lambda mine, _: [mine[0], mine[0], *mine[1:]],
        r"out of order: got superblock 0 for rank 1, wanted superblock 1 for rank 1",
    ),
    "swapped": (
        lambda mine, _: [mine[1], mine[0], *mine[2:]],
        r"out of order: got superblock 1 for rank 1, wanted superblock 0 for rank 1",
    ),
    "another rank's": (
        lambda mine, other: [mine[0], other[1], *mine[2:]],
        r"out of order: got superblock 1 for rank 0, wanted superblock 1 for rank 1",
    ),
    "truncated": (
        lambda mine, _: [mine[0], truncated(mine[1], 5), *mine[2:]],
        r"superblock 1 for rank 1 holds 5 rows instead of 12",
    ),
    "empty": (
        lambda mine, _: [mine[0], mine[1].slice(0, 0), *mine[2:]],
        r"superblock 1 for rank 1 holds 0 cells instead of one",
    ),
    "glued": (
        lambda mine, _: [mine[0], pa.concat_tables(mine[1:3])],
        r"superblock 1 for rank 1 holds 2 cells instead of one",
    ),
    "missing": (
        lambda mine, _: mine[:2],
        r"the stream ended before superblock 2 for rank 1: rows would be lost",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_block_that_is_not_the_next_one_ends_the_run_by_name(fault: str) -> None:
    spoil, message = FAULTS[fault]
    blocks = list(blocks_of(make_stream(), 2, range(3)))
    feed = Feed(
        spoil(blocks[1::2], blocks[::2]),
        GEOMETRY,
        rank=1,
        workers=2,
        first=Cursor(epoch=0, step=0),
        last_superblock=3,
    )
    with pytest.raises(DataError, match=message):
        list(feed)


def test_a_feed_that_begins_early_yields_the_same_and_tells_its_failure() -> None:
    def feed(blocks: list[pa.Table]) -> Feed:
        return Feed(
            blocks, GEOMETRY, rank=0, workers=1, first=Cursor(epoch=0, step=1), last_superblock=3
        )

    blocks = list(blocks_of(make_stream(), 1, range(3)))
    early = [batch.rows.tolist() for batch in begin_early(feed(blocks))]
    assert early == [batch.rows.tolist() for batch in feed(blocks)]
    assert len(early) == 5
    with pytest.raises(DataError, match="ended before superblock 0"):
        list(begin_early(feed([])))


def test_waiting_for_blocks_is_measured() -> None:
    ticks = iter(range(100))
    blocks = list(blocks_of(make_stream(), 1, range(3)))
    feed = Feed(
        blocks,
        GEOMETRY,
        rank=0,
        workers=1,
        first=Cursor(epoch=0, step=0),
        last_superblock=3,
        clock=lambda: float(next(ticks)),
    )
    assert feed.wait_s == 0.0
    list(feed)
    assert feed.wait_s == 3.0


def test_the_name_of_the_row_numbers_is_ours_alone() -> None:
    stream = make_stream(stages=(stage("takes_our_name"),))
    with pytest.raises(DataError, match="the column name '_row' is taken"):
        list(blocks_of(stream, 1, range(1)))


@pytest.mark.parametrize("kind", ["none", "window"])
@pytest.mark.parametrize("stages", [(stage("refuse"),), (stage("draw"), stage("refuse"))])
def test_a_failure_names_the_very_row_and_where_it_lies(
    kind: str, stages: tuple[Stage, ...]
) -> None:
    stream = make_stream(kind=kind, stages=stages)
    order = rows_between(stream.sample_order(), 1, 0, ROWS).tolist()
    # In a rank's block of an epoch's steps the first of the two stands first, too.
    first = min((31, 44), key=order.index)
    place = {31: ("c", 3), 44: ("c", 16)}[first]
    epoch = stream.geometry.superblocks_per_epoch
    with pytest.raises(DataError) as caught:
        list(blocks_of(stream, 1, range(epoch, 2 * epoch)))
    told, trace = str(caught.value).splitlines()
    assert told == (
        f"transform {MODULE}:refuse failed on row {first} of epoch 1 ({place[0]}.parquet, row"
        f" {place[1]}): ValueError: cursed"
    )
    assert " in refuse: raise" in trace


@pytest.mark.parametrize("position", [0, 1])
def test_a_fitted_transform_has_its_state_in_every_stage(position: int) -> None:
    stages = (stage("Centre"), stage("Centre"))
    stages = (stages[0], replace(stages[1], positions=(2,)))
    states = tuple(
        FittedState(use=f"{MODULE}:Centre", position=number, text=f'{{"mean": {number}.5}}')
        for number in (2, 1)
    )
    task = StageTask(
        stream=make_stream(stages=stages),
        position=position,
        root=PLACE[0],
        workers=1,
        superblocks=range(1),
        fitted=states,
    )
    (bound,) = task.bind()
    columns = {"x": np.zeros((2, 3))}
    centred = bound.apply(columns, Origins(rows=np.arange(2)), 0)["centred"]
    np.testing.assert_array_equal(centred, np.full((2, 3), -1.5 - position))
