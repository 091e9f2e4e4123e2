"""Rows a second of a strict and of a relaxed stream, over even and over skewed work.

    python -m benchmarks.relaxed_order [--windows 96] [--store-mb 80]

Work is a pause, so that cores do not matter. Skewed: one window in eight takes ten times as long as
the others, or as asked for. Even: each takes the mean of that. The ranks take as long for their
steps as the workers need on average to make them; `--no-pace` lets them take no time.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
from ray.data import DataIterator

from orchestrator.data.feed import Feed
from orchestrator.data.parquet_index import index_parquet
from orchestrator.data.pipeline import build_stream
from orchestrator.data.split import split_stream
from orchestrator.plan.job import JobPlan, build_plan
from orchestrator.plan.resources import ClusterCapacity
from orchestrator.spec.job import JobSpec

ROOT = Path(__file__).parent.parent
RANKS, READERS = 3, 2
BATCH, ROW_BYTES = 384, 1024
# Steps in a superblock, and superblocks in a window.
STEPS, SUPERBLOCKS = 4, 4
WINDOW_ROWS = BATCH * STEPS * SUPERBLOCKS


@dataclass(frozen=True)
class Work:
    """How long a superblock takes: `fast_s`, or `times` that in one window out of `slow_every`."""

    fast_s: float
    slow_every: int = 1
    times: int = 1

    @property
    def mean_s(self) -> float:
        return self.fast_s * (1 + (self.times - 1) / self.slow_every)


def pause(
    batch: dict[str, np.ndarray], fast_s: float, slow_every: int, times: int
) -> dict[str, np.ndarray]:
    """The work of a transform."""
    # A row group is a window.
    slow = int(batch["id"][0]) // WINDOW_ROWS % slow_every == slow_every // 2
    time.sleep(fast_s * (times if slow else 1))
    return batch


@ray.remote(num_cpus=0)
def consume(plan: JobPlan, shard: DataIterator, rank: int, step_s: float) -> tuple[float, float]:
    """Seconds from the first batch to the end, and the longest wait in them."""
    geometry = plan.train.geometry
    # None takes blocks as they are, which Ray's hint of the type forgets.
    blocks = shard.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=2)  # type: ignore[arg-type]
    feed = Feed(
        blocks,
        geometry,
        rank=rank,
        workers=RANKS,
        first=geometry.cursor(0),
        last_superblock=geometry.superblocks_per_epoch,
        relaxed=plan.train.relaxed,
    )
    began, waited, longest = 0.0, 0.0, 0.0
    for _ in feed:
        if began:
            longest = max(longest, feed.wait_s - waited)
        began, waited = began or time.perf_counter(), feed.wait_s
        time.sleep(step_s)
    return time.perf_counter() - began, longest


def measure(data: Path, order: str, work: Work, step_s: float) -> tuple[float, float]:
    """Rows a second, and the longest wait of a rank."""
    spec = JobSpec.model_validate(
        {
            "name": "relaxed",
            "dataset": {
                "train": {"paths": str(data)},
                "order": order,
                "shuffle": {"type": "window", "rows": WINDOW_ROWS},
            },
            "transforms": [{"use": "benchmarks.relaxed_order:pause", "with": vars(work)}],
            "training": {"task": "a.b:C", "epochs": 1, "global_batch_size": BATCH},
            "scaling": {
                "workers": RANKS,
                "superblock_steps": STEPS,
                "preprocessing": {"workers": READERS, "tasks_in_flight": 2},
            },
            "runtime": {"working_dir": str(ROOT)},
        }
    )
    plan = build_plan(
        spec,
        train=index_parquet([str(data)], root=ROOT, columns=None, where="dataset.train"),
        validation=None,
        transform_hashes={transform.use: "0" for transform in spec.transforms},
        capacity=ClusterCapacity(cpus=8, gpus=0, cores=2, embedded=True),
    )
    (stream, superblocks), *_ = plan.streams_from(0)
    dataset = build_stream(stream, root=ROOT, workers=RANKS, superblocks=superblocks)
    readers = split_stream(dataset, RANKS, at_once=False).readers
    ends = ray.get(
        [consume.remote(plan, shard, rank, step_s) for rank, shard in enumerate(readers)]
    )
    return plan.train.index.rows / max(end for end, _ in ends), max(wait for _, wait in ends)


def write_rows(folder: Path, windows: int) -> Path:
    """Row groups of a window's rows each."""
    ids = np.arange(windows * WINDOW_ROWS)
    x = np.random.default_rng(0).integers(0, 256, (len(ids), ROW_BYTES), dtype=np.uint8)
    table = pa.table({"id": ids, "x": pa.FixedSizeListArray.from_arrays(x.ravel(), ROW_BYTES)})
    pq.write_table(table, folder / "rows.parquet", row_group_size=WINDOW_ROWS)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=96)
    parser.add_argument("--fast-s", type=float, default=0.06, help="a superblock of a fast window")
    parser.add_argument("--slow-every", type=int, default=8, help="windows, of which one is slow")
    parser.add_argument("--times", type=int, default=10, help="how much slower it is")
    parser.add_argument("--store-mb", type=int, default=80, help="Ray's object store")
    parser.add_argument(
        "--blocks-ahead", type=int, default=RANKS + 1, help="of a call in strict order; Ray has 2"
    )
    parser.add_argument("--no-pace", action="store_true", help="ranks that take no time")
    asked = parser.parse_args()
    skewed = Work(fast_s=asked.fast_s, slow_every=asked.slow_every, times=asked.times)
    even = Work(fast_s=skewed.mean_s)
    step_s = 0.0 if asked.no_pace else skewed.mean_s / READERS / STEPS
    ray.init(
        "local",
        num_cpus=8,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=asked.store_mb << 20,
    )
    # A relaxed stream has it anyway. With less a strict one is slow for another reason, and the
    # comparison would not be one of orders.
    context = ray.data.DataContext.get_current()
    context._max_num_blocks_in_streaming_gen_buffer = asked.blocks_ahead
    with tempfile.TemporaryDirectory() as folder:
        data = write_rows(Path(folder), asked.windows)
        print("work    order      rows/s  longest wait")
        for name, work in (("even", even), ("skewed", skewed)):
            for order in ("strict", "relaxed"):
                rate, longest = measure(data, order, work, step_s)
                print(f"{name:<7} {order:<8} {rate:>8,.0f}  {longest:>10.2f} s", flush=True)


if __name__ == "__main__":
    main()
