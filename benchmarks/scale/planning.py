"""What planning reads and writes: footers, the index, the description, manifests, reports."""

import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.scale.arithmetic import timed
from benchmarks.scale.line import FRAGMENTS, READERS, WORKERS, Line, seconds, size
from orchestrator.checkpoint.manifest import FileEntry, Manifest
from orchestrator.data.parquet_index import index_parquet
from orchestrator.ledger.description import describe_order, read_description, write_description
from orchestrator.plan.fragments import Fragments
from orchestrator.plan.index import Column, DatasetIndex, SourceFile
from orchestrator.plan.job import JobPlan, build_plan
from orchestrator.plan.resources import ClusterCapacity
from orchestrator.spec.job import JobSpec
from orchestrator.train.recorder import Recorder

_COLUMNS, _GROUPS = 32, 10
# Files of the data, of ten row groups each.
_FILES = FRAGMENTS // _GROUPS


def planning_lines(*, fragments: int = FRAGMENTS, footers: int = 200) -> Iterator[Line]:
    """What planning costs, and what of the plan travels."""
    yield from _footer_lines(footers)
    index = make_index(fragments)
    times = FRAGMENTS / fragments
    digest_s, _ = timed(lambda: index.digest("/data"))
    yield Line(
        what=f"digest of an index of {fragments:,} fragments",
        measured=seconds(digest_s),
        at_scale=seconds(digest_s * times),
    )
    plan_s, plan = timed(lambda: make_plan(index))
    yield Line(
        what="plan of such a job", measured=seconds(plan_s), at_scale=seconds(plan_s * times)
    )
    pickled_s, travels = timed(lambda: pickle.dumps(plan.train))
    opened_s, _ = timed(lambda: pickle.loads(travels))
    times_s = f"{seconds(pickled_s)} to write, {seconds(opened_s)} to read"
    yield Line(
        what="the stream's plan, which travels to each worker and reader",
        measured=f"{size(len(travels))}, {times_s}",
        at_scale=f"{size(len(travels) * times)} each, in all"
        f" {size(len(travels) * times * (READERS + WORKERS))}",
    )
    yield from _description_lines(plan, times)
    yield from _record_lines()


def make_index(fragments: int) -> DatasetIndex:
    """An index of files of ten row groups of a million rows."""
    number = np.arange(fragments)
    paths = [f"/data/train/part-{file:06}.parquet" for file in range(-(-fragments // _GROUPS))]
    return DatasetIndex(
        fragments=Fragments.from_columns(
            paths,
            file=number // _GROUPS,
            row_group=number % _GROUPS,
            rows=10**6 + number % 997 - 498,
            bytes=128 * 10**6 + number,
        ),
        columns=(Column(name="x", dtype="fixed_size_list<item: float>[32]", has_nulls=False),),
        sources=tuple(
            SourceFile(path=path, rows=_GROUPS * 10**6, digest="0" * 32) for path in paths
        ),
    )


def make_plan(index: DatasetIndex) -> JobPlan:
    """The plan of a job of 1,000 training workers and 10,000 readers over an index."""
    spec = JobSpec.model_validate(
        {
            "name": "scale",
            "dataset": {"train": {"paths": "train"}},
            "transforms": [],
            "training": {"task": "a.b:C", "epochs": 1, "global_batch_size": 1_024 * WORKERS},
            "scaling": {
                "workers": WORKERS,
                "lanes": WORKERS,
                "preprocessing": {"workers": READERS},
            },
            "runtime": {"working_dir": "/data"},
        }
    )
    capacity = ClusterCapacity(cpus=20_000, gpus=0, cores=20_000, embedded=False)
    return build_plan(spec, train=index, validation=None, transform_hashes={}, capacity=capacity)


def _footer_lines(count: int) -> Iterator[Line]:
    """Footers of files of ten row groups, in the page cache."""
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        values = np.arange(1_000, dtype=np.float32)
        rows = pa.table({f"x{number:02}": values for number in range(_COLUMNS)})
        first = folder / "part-0.parquet"
        pq.write_table(rows, first, row_group_size=100)
        for number in range(1, count):
            (folder / f"part-{number}.parquet").hardlink_to(first)
        # Linked, because a path that resolves to the same file is refused, and a copy costs more.
        read_s, _ = timed(
            lambda: index_parquet([str(folder)], root=folder, columns=None, where="scale")
        )
    each = read_s / count
    yield Line(
        what=f"footer of {_GROUPS} row groups and {_COLUMNS} columns, one after another",
        measured=f"{seconds(each)} each, in the page cache",
        at_scale=f"{seconds(each * _FILES)} for {_FILES:,} files;"
        f" {seconds((each + 0.01) * _FILES)} where a read takes 10 ms",
    )


def _description_lines(plan: JobPlan, times: float) -> Iterator[Line]:
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        run_dir = Path(name)
        (run_dir / "ledger").mkdir()
        write_s, _ = timed(lambda: write_description(run_dir, describe_order(plan)))
        written = (run_dir / "ledger" / "order.json.gz").stat().st_size
        read_s, _ = timed(lambda: read_description(run_dir))
    yield Line(
        what="ledger/order.json.gz, once a run",
        measured=f"{size(written)}, {seconds(write_s)} to write, {seconds(read_s)} to read",
        at_scale=f"{size(written * times)}, {seconds(write_s * times)}, {seconds(read_s * times)}",
    )


def _record_lines() -> Iterator[Line]:
    files = tuple(
        FileEntry(path=f"state/rank-{rank:05}.safetensors", size=10**9, sha256="0" * 64)
        for rank in range(WORKERS)
    )
    manifest = Manifest(
        name="step-000001000-001",
        attempt=1,
        step=1_000,
        cursor={"epoch": 0, "step": 1_000},
        metrics={"loss": 0.1},
        order_fingerprint="0" * 64,
        parts={},
        files=files,
        versions={},
    )
    manifest_s, data = timed(manifest.to_bytes)
    yield Line(
        what="manifest of a checkpoint with a file for each rank",
        measured=f"{len(data) / WORKERS:.0f} bytes a file",
        at_scale=f"{size(len(data))}, {seconds(manifest_s)}",
    )
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        recorder = Recorder(Path(name), attempt=1)
        recorder.training(
            epoch=0,
            step=1_000,
            rows=10**9,
            lr=1e-3,
            means={"loss": 0.123456789012345, "accuracy": 0.87},
            rows_per_s=123456.7,
            wait_share=0.01,
        )
        recorder.close()
        report = (Path(name) / "metrics.jsonl").stat().st_size
    yield Line(
        what="metrics.jsonl, by the first rank alone",
        measured=f"{report} bytes a report",
        at_scale=f"{size(report * 10**6 / 50)} in a million steps with a report each 50",
    )
