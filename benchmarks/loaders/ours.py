"""Our stream, as a training worker reads it, and with the plan that a job would get."""

import os
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import ray
import ray.data
from torch import Tensor

from benchmarks.harness.drain import drain
from benchmarks.harness.repeat import ROOT, Reading
from orchestrator.data.feed import Feed
from orchestrator.data.parquet_index import index_parquet
from orchestrator.data.pipeline import build_stream
from orchestrator.data.probe import measure_cost
from orchestrator.data.reader import ReadStage, StageTask
from orchestrator.data.split import split_stream, take_blocks
from orchestrator.plan.job import JobPlan, build_plan
from orchestrator.plan.resources import ClusterCapacity
from orchestrator.plan.tuning import MeasuredCost
from orchestrator.run.cluster import ENVIRONMENT, capacity_of, start_embedded
from orchestrator.spec.job import JobSpec
from orchestrator.spec.runtime import RuntimeSpec

# Workers that have not started by then never will.
_START_S = 300


def plan_stream(
    *,
    data: str,
    work: str,
    batch: int,
    epochs: int = 1,
    order: str = "strict",
    shuffle: object = "window",
    scaling: dict[str, object] | None = None,
    arguments: dict[str, object] | None = None,
    capacity: ClusterCapacity | None = None,
    store_bytes: int | None = None,
) -> JobPlan:
    """The plan of a job whose only transform is `work`."""
    spec = JobSpec.model_validate(
        {
            "name": "bench",
            "dataset": {"train": {"paths": data}, "order": order, "shuffle": shuffle},
            "transforms": [{"use": work, "with": arguments or {}}],
            "training": {"task": "a.b:C", "epochs": epochs, "global_batch_size": batch},
            "scaling": scaling or {},
            "runtime": {"working_dir": str(ROOT), "object_store": store_bytes or "auto"},
        }
    )
    return build_plan(
        spec,
        train=index_parquet([data], root=ROOT, columns=None, where="dataset.train"),
        validation=None,
        transform_hashes={transform.use: "0" for transform in spec.transforms},
        capacity=capacity or capacity_of(spec.runtime),
    )


def cost_of(plan: JobPlan) -> MeasuredCost:
    """What a run measures while it starts, from which it chooses what the spec leaves open."""
    (stream, superblocks), *_ = plan.streams_from(0)
    return measure_cost(
        StageTask(stream=stream, position=0, root=ROOT, workers=1, superblocks=superblocks)
    )


def read_stream(plan: JobPlan) -> Iterator[dict[str, Tensor]]:
    """The batches of a plan for one training worker, as tensors, in the process that asks."""
    # Torch takes a second to import, and a consumer of numpy arrays has no need of it.
    import torch

    from orchestrator.train.batch import to_tensors

    (stream, superblocks), *_ = plan.streams_from(0)
    dataset = build_stream(stream, root=ROOT, workers=1, superblocks=superblocks)
    (shard,) = split_stream(dataset, 1, at_once=True).readers
    blocks = take_blocks(shard, stream)
    feed = Feed(
        blocks,
        stream.geometry,
        rank=0,
        workers=1,
        first=stream.geometry.cursor(0),
        last_superblock=superblocks.stop,
        relaxed=stream.relaxed,
    )
    cpu = torch.device("cpu")
    for batch in feed:
        if batch.epoch == plan.spec.training.epochs:
            return
        yield to_tensors(batch.columns, cpu)


def reader_work(*, data: str, work: str, batch: int) -> Callable[[], int]:
    """Part after part of what a preprocessing worker does for a window: all but handing it on."""
    plan = plan_stream(data=data, work=work, batch=batch, epochs=1 << 10)
    plan = plan.measured(cost_of(plan))
    (stream, superblocks), *_ = plan.streams_from(0)
    reader = ReadStage(
        StageTask(stream=stream, position=0, root=ROOT, workers=1, superblocks=superblocks)
    )
    windows = count()

    def work_on() -> int:
        before = reader.spent.work_rows
        for _ in reader({"id": np.array([next(windows)])}):
            pass
        return reader.spent.work_rows - before

    return work_on


def run(
    *,
    data: str,
    work: str,
    batch: int,
    key: str,
    epochs: int = 1,
    step_s: float = 0.0,
    until: float = 1.0,
    whole_pool: bool = False,
    store_bytes: int | None = None,
    cpus: int = 8,
    order: str = "strict",
    shuffle: object = "window",
    scaling: dict[str, object] | None = None,
    arguments: dict[str, object] | None = None,
) -> Reading:
    """One repetition on a Ray of its own.

    Args:
        whole_pool: whether nothing is read before all workers have started, where there are so
            many of them that the start would be most of the time.
    """
    runtime = RuntimeSpec(cpus=cpus, object_store=store_bytes or "auto", working_dir=str(ROOT))
    capacity = capacity_of(runtime)
    plan = plan_stream(
        data=data,
        work=work,
        batch=batch,
        epochs=epochs,
        order=order,
        shuffle=shuffle,
        scaling=scaling,
        arguments=arguments,
        capacity=capacity,
        store_bytes=store_bytes,
    )
    plan = plan.measured(cost_of(plan))
    os.environ.update({**ENVIRONMENT, **os.environ})
    with tempfile.TemporaryDirectory(prefix="ob") as folder:
        start_embedded(runtime, capacity, Path(folder), log_to_driver=False)
        try:
            if whole_pool:
                ray.data.DataContext.get_current().wait_for_min_actors_s = _START_S
            rows = plan.train.index.rows * epochs
            return drain(read_stream(plan), rows=rows, key=key, step_s=step_s, until=until)
        finally:
            ray.shutdown()
