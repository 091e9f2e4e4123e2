"""A mixture through readers and feeds: the same batches for any cut, workers, stop and resume."""

import sys
from collections import Counter
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

from orchestrator.data.parquet_index import index_parquet
from orchestrator.data.parquet_read import read_pieces
from orchestrator.data.random import RowRandom
from orchestrator.errors import DataError
from orchestrator.plan.accounts import EpochOrigins
from orchestrator.plan.geometry import StreamGeometry
from orchestrator.plan.index import DatasetIndex, join_indexes
from orchestrator.plan.origins import Origins
from orchestrator.plan.pattern import Weights
from orchestrator.plan.sources import Mixture, Phase
from orchestrator.plan.stages import Stage
from orchestrator.plan.stream import StreamPlan
from orchestrator.spec.transform import TransformSpec
from tests.support import streams
from tests.support.mixtures import KINDS, weights_by_phase
from tests.support.streams import Batch

MODULE = "mixture_transforms_under_test"
CODE = """
def draw(batch, rng):
    return {**batch, "drawn": rng.random()}

def refuse(batch):
    if (batch["id"] == 31).any():
        raise ValueError("cursed")
    return batch
"""
# Rows of each source: a pass over `few` takes less than an epoch, one over `many` may take more.
SIZES = {"many": 37, "few": 5, "some": 21}
ROWS = sum(SIZES.values())
PHASES: tuple[tuple[int, Weights], ...] = ((0, (0.5, 0.2, 0.3)), (100, (0.2, 0.1, 0.7)))
# Six steps of 12 rows, the last one of 3.
GEOMETRY = StreamGeometry(rows=ROWS, batch=12, lanes=12, superblock_steps=2, window_steps=2)
EPOCHS = 3
STEPS = EPOCHS * GEOMETRY.steps_per_epoch


@pytest.fixture(scope="module", autouse=True)
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with transforms and three sources, whose row groups have 8 rows at most."""
    folder = tmp_path_factory.mktemp("job")
    (folder / f"{MODULE}.py").write_text(CODE)
    start = 0
    for name, rows in SIZES.items():
        (folder / name).mkdir()
        ids = np.arange(start, start + rows)
        table = pa.table({"id": ids, "source": [name] * rows})
        pq.write_table(table, folder / name / "rows.parquet", row_group_size=8)
        start += rows
    path = list(sys.path)
    PLACE.append(folder)
    yield folder
    sys.path[:] = path
    sys.modules.pop(MODULE, None)
    PLACE.clear()
    for cached in (index, whole):
        cached.cache_clear()


# Where the fixture's folder is, for what hypothesis and caches call.
PLACE: list[Path] = []


@cache
def index() -> DatasetIndex:
    indexes = {
        name: index_parquet([name], root=PLACE[0], columns=None, where=name) for name in SIZES
    }
    return join_indexes(indexes, where="dataset.train.sources")


def stage(use: str) -> Stage:
    return Stage(
        transforms=(TransformSpec(use=f"{MODULE}:{use}"),),
        positions=(1,),
        cpus=1.0,
        gpus=0.0,
        workers=(1, 1),
        tasks_in_flight=1,
    )


def make_stream(
    geometry: StreamGeometry = GEOMETRY,
    kind: str = "window",
    phases: tuple[tuple[int, Weights], ...] = PHASES,
    use: str = "draw",
) -> StreamPlan:
    fragments, rows = KINDS[kind]
    return StreamPlan(
        split="train",
        index=index(),
        geometry=geometry,
        stages=(stage(use),),
        seed=3,
        shuffle_fragments=fragments,
        shuffle_rows=rows,
        epochs_differ=True,
        mixture=Mixture(
            sources=index().mixed,
            phases=tuple(Phase(start=start, weights=weights) for start, weights in phases),
        ),
    )


def run(stream: StreamPlan, workers: int, *, step: int = 0, total: int = STEPS) -> list[Batch]:
    return streams.run(stream, workers, step=step, total=total, root=PLACE[0])


@cache
def whole(workers: int) -> list[Batch]:
    return run(make_stream(), workers)


@pytest.mark.parametrize("workers", [2, 3, 5, 12])
def test_batches_do_not_know_the_number_of_workers(workers: int) -> None:
    assert whole(workers) == whole(1)


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (2, 12), (5, 2)])
def test_a_run_stopped_at_any_step_goes_on_the_same_with_any_workers(
    before: int, after: int
) -> None:
    for step in range(STEPS):
        assert whole(before)[:step] + run(make_stream(), after, step=step) == whole(1)


@settings(max_examples=40)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    phases=weights_by_phase(3),
    lanes=st.sampled_from([1, 2, 3, 5]),
    lane_rows=st.integers(1, 6),
    superblock_steps=st.integers(1, 5),
    windows=st.integers(1, 4),
    data=st.data(),
)
def test_any_cut_at_any_step_for_any_workers_gives_the_origins_of_the_order(
    kind: str,
    phases: list[tuple[int, Weights]],
    lanes: int,
    lane_rows: int,
    superblock_steps: int,
    windows: int,
    data: st.DataObject,
) -> None:
    geometry = StreamGeometry(
        rows=ROWS,
        batch=lanes * lane_rows,
        lanes=lanes,
        superblock_steps=superblock_steps,
        window_steps=superblock_steps * windows,
    )
    stream = make_stream(geometry, kind, tuple(phases))
    order = stream.sample_order()
    total = 2 * geometry.steps_per_epoch
    step = data.draw(st.integers(0, total - 1), label="step")
    workers = data.draw(st.integers(1, lanes), label="workers")
    until = data.draw(st.integers(step + 1, total), label="until")
    for epoch, inside, columns in run(stream, workers, step=step, total=until):
        first = inside * geometry.batch
        wanted = EpochOrigins(order).between(epoch, first, first + geometry.batch)
        assert columns["row"] == columns["id"] == wanted.rows.tolist()
        assert columns["pass"] == wanted.passes.tolist()


def test_rows_come_from_their_sources_by_weight() -> None:
    sources = [name for _, _, columns in whole(1) for name in columns["source"]]
    assert len(sources) == EPOCHS * ROWS
    for start, stop, weights in [(0, 100, PHASES[0][1]), (100, len(sources), PHASES[1][1])]:
        counts = Counter(sources[start:stop])
        for name, weight in zip(SIZES, weights, strict=True):
            assert abs(counts[name] - weight * (stop - start)) <= len(SIZES) + 1


def test_a_row_is_augmented_anew_in_each_pass_of_its_source_and_only_then() -> None:
    drawn = {
        (row, number): value
        for _, _, columns in whole(1)
        for row, number, value in zip(
            columns["row"], columns["pass"], columns["drawn"], strict=True
        )
    }
    assert len(drawn) == len(set(drawn.values())) == EPOCHS * ROWS
    # `few` is passed more than once in an epoch, and each of its passes draws for itself.
    rows = np.array([row for row, _ in drawn])
    passes = np.array([number for _, number in drawn], dtype=np.int32)
    assert passes.max() > EPOCHS
    keys = Origins(rows=rows, passes=passes).draw_keys()
    values = RowRandom(3, 0, keys, transform=f"{MODULE}:draw").random()
    assert list(drawn.values()) == values.tolist()


@pytest.mark.parametrize(
    "geometry",
    [
        replace(GEOMETRY, superblock_steps=1),
        replace(GEOMETRY, superblock_steps=6, window_steps=6),
        replace(GEOMETRY, batch=20, lanes=4, superblock_steps=3, window_steps=3),
    ],
)
def test_the_sources_of_positions_do_not_know_how_the_stream_is_cut(
    geometry: StreamGeometry,
) -> None:
    total = EPOCHS * geometry.steps_per_epoch
    batches = run(make_stream(geometry), 2, total=total)
    expected = [name for _, _, columns in whole(1) for name in columns["source"]]
    assert [name for _, _, columns in batches for name in columns["source"]] == expected


def test_a_failure_names_the_row_in_the_file_of_its_source() -> None:
    with pytest.raises(DataError) as caught:
        run(make_stream(use="refuse"), 1)
    told, _ = str(caught.value).splitlines()
    assert told == (
        f"transform {MODULE}:refuse failed on row 31 of epoch 0 (many/rows.parquet, row 31):"
        " ValueError: cursed"
    )


def test_a_row_group_that_a_window_has_twice_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = make_stream(replace(GEOMETRY, superblock_steps=6, window_steps=6))
    pieces = stream.sample_order().window(0, 0).pieces
    opened: list[int] = []

    class Counted(pq.ParquetFile):
        def read_row_group(self, i: int, **options: object) -> pa.Table:
            opened.append(i)
            return super().read_row_group(i, **options)

    monkeypatch.setattr(pq, "ParquetFile", Counted)
    columns = read_pieces(index(), pieces)
    assert len(pieces) > len(opened) == len({piece.fragment for piece in pieces})
    assert columns["id"].tolist() == stream.sample_order().unit_numbers(pieces).tolist()
