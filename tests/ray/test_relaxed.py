"""A relaxed stream on a real Ray: nobody waits for a slow window; nothing is lost or repeated."""

import time
from pathlib import Path

import numpy as np
import pytest
import ray
from ray._private.worker import global_worker
from ray.data import DataIterator

from orchestrator.data.feed import Feed
from orchestrator.data.parquet_index import index_parquet
from orchestrator.data.pipeline import build_stream
from orchestrator.data.split import split_stream, take_blocks
from orchestrator.plan.job import JobPlan, build_plan
from orchestrator.plan.resources import ClusterCapacity
from orchestrator.spec.job import JobSpec
from tests.support.data import write_rows
from tests.support.orders import rows_between
from tests.support.runs import ROOT, members_of, title_of

pytestmark = pytest.mark.usefixtures("cluster")

# Twelve windows an epoch, each of two superblocks of two steps.
ROWS, BATCH, EPOCHS, WORKERS = 48 * 8 - 3, 8, 2, 3

# Of a rank's steps, each: epoch, superblock, offset, step and rows.
Steps = list[tuple[int, int, int, int, list[int]]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("relaxed") / "rows", ROWS, files=2, row_group=64)


def make_plan(data: Path, transforms: list[object], *, tasks_in_flight: int = 1) -> JobPlan:
    spec = JobSpec.model_validate(
        {
            "name": "relaxed",
            "dataset": {
                "train": {"paths": str(data)},
                "shuffle": {"type": "window", "rows": 4 * BATCH},
                "order": "relaxed",
            },
            "transforms": transforms,
            "training": {"task": "a.b:C", "epochs": EPOCHS, "global_batch_size": BATCH},
            "scaling": {
                "workers": WORKERS,
                "superblock_steps": 2,
                "preprocessing": {"workers": 2, "tasks_in_flight": tasks_in_flight},
            },
            "runtime": {"working_dir": str(ROOT)},
        }
    )
    return build_plan(
        spec,
        train=index_parquet([str(data)], root=ROOT, columns=None, where="dataset.train"),
        validation=None,
        transform_hashes={transform.use: "0" for transform in spec.transforms},
        capacity=ClusterCapacity(cpus=8, gpus=0, cores=2, embedded=True),
    )


@ray.remote(num_cpus=0, max_retries=0)
def consume(plan: JobPlan, shard: DataIterator, rank: int, log: Path) -> Steps:
    """What one rank gets, each step written down as it comes."""
    geometry = plan.train.geometry
    feed = Feed(
        take_blocks(shard, plan.train),
        geometry,
        rank=rank,
        workers=WORKERS,
        first=geometry.cursor(0),
        last_superblock=EPOCHS * geometry.superblocks_per_epoch,
        relaxed=True,
    )
    seen = []
    with (log / f"{rank}.txt").open("w", buffering=1) as file:
        for batch in feed:
            if len(batch.rows):
                np.testing.assert_array_equal(batch.columns["id"], batch.rows)
            rows = batch.rows.tolist()
            seen.append((batch.epoch, batch.superblock, batch.offset, batch.step, rows))
            file.write(f"{batch.superblock}\n")
    return seen


def start(plan: JobPlan, log: Path) -> list[ray.ObjectRef[Steps]]:
    (stream, superblocks), *_ = plan.streams_from(0)
    dataset = build_stream(stream, root=ROOT, workers=WORKERS, superblocks=superblocks)
    readers = split_stream(dataset, WORKERS, at_once=False).readers
    return [consume.remote(plan, shard, rank, log) for rank, shard in enumerate(readers)]


def check_exact(plan: JobPlan, ranks: list[Steps]) -> None:
    """All ranks trained the same sequence, and every batch of the order once, whole."""
    order, geometry = plan.train.sample_order(), plan.train.geometry
    batches = []
    for shares in zip(*ranks, strict=True):
        ((epoch, superblock, offset, step),) = {share[:4] for share in shares}
        assert divmod(len(batches), geometry.steps_per_epoch) == (epoch, step)
        number = geometry.superblock(superblock).first_step + offset
        rows = [row for share in shares for row in share[4]]
        start = number * BATCH
        assert rows == rows_between(order, epoch, start, start + BATCH).tolist()
        batches.append((epoch, number))
    assert sorted(batches) == [divmod(n, geometry.steps_per_epoch) for n in range(plan.total_steps)]


def test_windows_that_are_ready_overtake_a_slow_one(data: Path, tmp_path: Path) -> None:
    slow = {"use": "tests.support.transforms:linger", "with": {"until": 1, "seconds": 1.0}}
    plan = make_plan(data, [slow])
    ranks = ray.get(start(plan, tmp_path))
    check_exact(plan, ranks)
    order, geometry = plan.train.sample_order(), plan.train.geometry
    for epoch in range(EPOCHS):
        sequence = [
            superblock for at, superblock, offset, *_ in ranks[0] if at == epoch and not offset
        ]
        assert sorted(sequence) == list(range(epoch * 24, (epoch + 1) * 24))
        # The superblock with row 0 came after others that stand behind it in the order.
        place = rows_between(order, epoch, 0, geometry.rows).tolist().index(0)
        held_up = epoch * 24 + place // (2 * BATCH)
        assert max(sequence[: sequence.index(held_up)], default=0) > held_up


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["ShareStage", "ReadStage", "MapStage"])
def test_a_killed_worker_loses_and_repeats_nothing(data: Path, tmp_path: Path, victim: str) -> None:
    pause = {"use": "tests.support.transforms:linger", "with": {"until": ROWS, "seconds": 0.1}}
    plan = make_plan(data, [pause, {**pause, "workers": 2, "cpus": 0.5}], tasks_in_flight=2)
    pending = start(plan, tmp_path)
    killed = 0
    for after in (4, 12, 24, 36, 60):
        wait_for_steps(tmp_path / "0.txt", after)
        session = Path(global_worker.node.get_session_dir_path())
        for process in members_of(session):
            if f"MapBatches({victim})" in title_of(process):
                process.kill()
                killed += 1
    assert killed >= 5
    check_exact(plan, ray.get(pending))


def wait_for_steps(file: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while not file.exists() or len(file.read_text().splitlines()) < count:
        assert time.monotonic() < deadline, f"no {count} steps"
        time.sleep(0.01)
