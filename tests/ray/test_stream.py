"""The stream on a real Ray: the order is exact for any number of ranks, and it starts cheaply."""

from pathlib import Path

import numpy as np
import pytest
import ray
from ray.data import DataIterator

from orchestrator.data.counting import count_rows
from orchestrator.data.feed import Feed
from orchestrator.data.parquet_index import index_parquet
from orchestrator.data.pipeline import build_stream
from orchestrator.data.split import split_stream, take_blocks
from orchestrator.plan.accounts import EpochOrigins
from orchestrator.plan.index import DatasetIndex, join_indexes
from orchestrator.plan.job import JobPlan, build_plan
from orchestrator.plan.resources import ClusterCapacity
from orchestrator.spec.job import JobSpec
from tests.support.data import write_rows
from tests.support.orders import rows_between
from tests.support.runs import ROOT

pytestmark = pytest.mark.usefixtures("cluster")

ROWS, BATCH, EPOCHS = 1003, 40, 2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("stream") / "rows", ROWS, files=3, row_group=64)


def make_plan(
    data: Path, *, workers: int, transforms: list[object] | None = None, mixed: bool = False
) -> JobPlan:
    files = {path.stem.replace("-", ""): path for path in sorted(data.iterdir())}
    sources = {
        name: {"paths": str(file), "weight": weight}
        for (name, file), weight in zip(files.items(), (5, 1, 3), strict=True)
    }
    train = {"sources": sources} if mixed else {"paths": str(data)}
    spec = JobSpec.model_validate(
        {
            "name": "stream",
            "seed": 11,
            "dataset": {"train": train, "shuffle": {"type": "window", "rows": 320}},
            "transforms": transforms or [],
            "training": {"task": "a.b:C", "epochs": EPOCHS, "global_batch_size": BATCH},
            "scaling": {"workers": workers, "superblock_steps": 4, "lanes": 8},
            "runtime": {"working_dir": str(ROOT)},
        }
    )
    hashes = {transform.use: "0" for transform in spec.transforms}
    return build_plan(
        spec,
        train=join_indexes({name: index_of(file) for name, file in files.items()}, where="")
        if mixed
        else index_of(data),
        validation=None,
        transform_hashes=hashes,
        capacity=ClusterCapacity(cpus=8, gpus=0, cores=2, embedded=True),
    )


def index_of(path: Path) -> DatasetIndex:
    return index_parquet([str(path)], root=ROOT, columns=None, where="dataset.train")


@ray.remote(num_cpus=0)
def consume(
    plan: JobPlan, shard: DataIterator, rank: int, step: int
) -> list[tuple[int, int, list]]:
    """What one rank gets: (epoch, step, rows) for each step, checked against its columns."""
    (_, superblocks), *_ = plan.streams_from(step)
    geometry = plan.train.geometry
    feed = Feed(
        take_blocks(shard, plan.train),
        geometry,
        rank=rank,
        workers=plan.workers,
        first=geometry.cursor(step),
        last_superblock=superblocks.stop,
    )
    seen = []
    for batch in feed:
        if len(batch.rows):
            np.testing.assert_array_equal(batch.columns["id"], batch.rows)
            if plan.spec.transforms and plan.spec.transforms[0].use.endswith(":Reused"):
                wanted = np.repeat(batch.rows[:, None], 2, axis=1)
                np.testing.assert_array_equal(batch.columns["x"], wanted)
        seen.append((batch.epoch, batch.step, batch.rows.tolist()))
    return seen


def global_batches(plan: JobPlan, step: int = 0) -> dict[tuple[int, int], list[int]]:
    """The rows of each global batch, the shares of the ranks one after another."""
    (stream, superblocks), *_ = plan.streams_from(step)
    dataset = build_stream(stream, root=ROOT, workers=plan.workers, superblocks=superblocks)
    readers = split_stream(dataset, plan.workers, at_once=False).readers
    ranks = ray.get([consume.remote(plan, shard, rank, step) for rank, shard in enumerate(readers)])
    batches: dict[tuple[int, int], list[int]] = {}
    for seen in ranks:
        for epoch, number, rows in seen:
            batches.setdefault((epoch, number), []).extend(rows)
    return batches


def expected(plan: JobPlan, step: int = 0) -> dict[tuple[int, int], list[int]]:
    order, geometry = plan.train.sample_order(), plan.train.geometry
    steps = [divmod(s, geometry.steps_per_epoch) for s in range(step, plan.total_steps)]
    return {(e, s): rows_between(order, e, s * BATCH, (s + 1) * BATCH).tolist() for e, s in steps}


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_every_global_batch_is_the_rows_of_the_order(data: Path, workers: int) -> None:
    plan = make_plan(data, workers=workers)
    assert global_batches(plan) == expected(plan)


def test_a_stream_begins_in_the_middle_without_the_rows_before(data: Path) -> None:
    plan = make_plan(data, workers=2)
    assert global_batches(plan, step=37) == expected(plan, step=37)


def test_a_mixture_comes_in_its_order_from_the_middle_on(data: Path) -> None:
    plan = make_plan(data, workers=3, mixed=True)
    assert plan.train.mixture is not None
    assert global_batches(plan, step=19) == expected(plan, step=19)


def test_rows_are_counted_and_what_they_give_comes_in_order(data: Path) -> None:
    code = "tests.support.row_changes"
    transforms: list[object] = [
        {"use": f"{code}:some", "kind": "filter"},
        {"use": f"{code}:copies", "kind": "flat_map"},
        {"use": "tests.support.transforms:jitter", "workers": 2},
    ]
    plan = make_plan(data, workers=3, transforms=transforms)
    counts = count_rows(plan.train, root=ROOT, fitted=())
    assert counts.tolist() == [0 if row % 3 == 0 else row % 4 for row in range(ROWS)]
    plan = plan.counted({"train": counts})
    assert plan.train.counting is not None
    origins = EpochOrigins(plan.train.sample_order(), plan.train.counting.accounts(counts))
    steps = [divmod(s, plan.train.geometry.steps_per_epoch) for s in range(5, plan.total_steps)]
    assert global_batches(plan, step=5) == {
        (e, s): origins.between(e, s * BATCH, (s + 1) * BATCH).rows.tolist() for e, s in steps
    }


def test_rows_stay_in_order_through_pools_of_their_own(data: Path) -> None:
    transforms = [
        {"use": "tests.support.transforms:jitter", "batch_rows": 7},
        {"use": "tests.support.transforms:Shift", "with": {"by": 1.0}, "workers": 2},
        {"use": "tests.support.transforms:jitter"},
    ]
    plan = make_plan(data, workers=2, transforms=transforms)
    assert [len(stage.transforms) for stage in plan.train.stages] == [1, 1, 1]
    assert global_batches(plan) == expected(plan)


@pytest.mark.parametrize("pools", [1, 2])
def test_a_transform_may_write_into_its_arrays_again(data: Path, pools: int) -> None:
    reused: dict[str, object] = {"use": "tests.support.transforms:Reused"}
    plan = make_plan(data, workers=2, transforms=[reused, {**reused, "workers": 1}][:pools])
    assert [len(stage.transforms) for stage in plan.train.stages] == [1] * pools
    assert global_batches(plan) == expected(plan)


def test_windows_are_read_by_an_actor_pool_of_its_own_one_window_a_task(data: Path) -> None:
    plan = make_plan(data, workers=2)
    (stream, superblocks), *_ = plan.streams_from(0)
    dataset = build_stream(stream, root=ROOT, workers=2, superblocks=superblocks)
    rows = dataset.take_all()
    # One row a rank and superblock, in order, whatever the rows are made of.
    assert [(row["superblock"], row["rank"]) for row in rows] == [
        (superblock, rank) for superblock in superblocks for rank in range(2)
    ]
    stats = dataset.stats()
    windows = EPOCHS * stream.geometry.windows_per_epoch
    # Fused with the range, the reader would get every window in one task.
    assert "ReadRange->" not in stats
    assert f"MapBatches(ReadStage): {windows} tasks executed" in stats
