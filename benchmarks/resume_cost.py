"""What resuming costs early and late in an epoch: python -m benchmarks.resume_cost.

From the restart to the first batch, resumed at 10 % and at 90 % of an epoch, medians of several
tries: of a reader alone, and of the stream on a Ray of its own, with its actors' start. With
`--runs`, of whole runs too: `orchestrator run`, killed there and started again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import yaml

from benchmarks.tiny import write_rows
from orchestrator import load_job, plan_job
from orchestrator.data.feed import Feed
from orchestrator.data.pipeline import build_stream
from orchestrator.data.reader import ReadStage, StageTask
from orchestrator.data.split import ExactDataConfig
from orchestrator.jsonl import read_json_lines
from orchestrator.plan.job import JobPlan
from orchestrator.run.session import ray_session

ROOT = Path(__file__).parents[1]
ROWS, WINDOW, BATCH = 3_000_000, 65_536, 1_024
EARLY, LATE = 0.1, 0.9
TRIES = 3
LIMIT_S = 300.0


def main() -> None:
    """Prints a table, a line for each thing that is resumed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resume_cost")
    parser.add_argument("--runs", action="store_true", help="also kill and resume whole runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="resume-") as name:
        folder = Path(name)
        write_rows(folder / "train", ROWS)
        job = write_job(folder)
        plan = plan_job(load_job(job))
        say("| resumed | at 10 % | at 90 % | ratio |")
        say("| --- | ---: | ---: | ---: |")
        show("a reader", alternately(lambda share: first_block_s(plan, share)))
        with ray_session(
            plan.spec.runtime, plan.resources.capacity, run_dir=folder, log_to_driver=False
        ):
            first_batch_s(plan, EARLY)  # Ray's own first actors start slower than all others
            show("the stream on Ray", alternately(lambda share: first_batch_s(plan, share)))
        if options.runs:
            show("a run", run_seconds(job, plan))


def write_job(folder: Path) -> Path:
    """An epoch of many windows, with a checkpoint at each tenth of it."""
    tenth = round(EARLY * -(-ROWS // BATCH))
    job = {
        "name": "resume",
        "runtime": {"working_dir": str(ROOT)},
        "dataset": {
            "train": {"paths": str(folder / "train")},
            "shuffle": {"type": "window", "rows": WINDOW},
        },
        "training": {
            "task": "benchmarks.tiny:TinyTask",
            "epochs": 1,
            "global_batch_size": BATCH,
            "report_every": tenth,
        },
        "scaling": {"workers": 1, "preprocessing": {"workers": 2}},
        "checkpoint": {"storage": str(folder / "runs"), "every": f"{tenth} steps"},
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    return path


def first_block_s(plan: JobPlan, share: float) -> float:
    """Seconds until a reader, made anew, gives the block that holds this share of the epoch."""
    (stream, superblocks), *_ = plan.streams_from(step_at(plan, share))
    began = time.perf_counter()
    reader = ReadStage(
        StageTask(stream=stream, position=0, root=ROOT, workers=1, superblocks=superblocks)
    )
    next(reader({"id": np.array([0])}))
    return time.perf_counter() - began


def first_batch_s(plan: JobPlan, share: float) -> float:
    """Seconds until the stream, built anew, gives its first batch; it has to be the right one."""
    step = step_at(plan, share)
    (stream, superblocks), *_ = plan.streams_from(step)
    began = time.perf_counter()
    dataset = build_stream(stream, root=ROOT, workers=1, superblocks=superblocks)
    (shard,) = ExactDataConfig().configure({"train": dataset}, 1, None, None)
    blocks = shard["train"].iter_batches(batch_size=None, batch_format="pyarrow")
    feed = Feed(
        blocks,
        stream.geometry,
        rank=0,
        workers=1,
        first=stream.geometry.cursor(step),
        last_superblock=superblocks.stop,
    )
    batch = next(iter(feed))
    seconds = time.perf_counter() - began
    wanted = stream.sample_order().rows_between(0, step * BATCH, (step + 1) * BATCH)
    assert np.array_equal(batch.columns["id"], wanted)
    return seconds


def run_seconds(job: Path, plan: JobPlan) -> dict[float, float]:
    """Of one run, killed and started again several times at both places."""
    found = {}
    for share in (EARLY, LATE):
        step = step_at(plan, share)
        with a_driver(job) as run_dir:
            wait_for("the checkpoint", lambda: step in steps_of(run_dir, "checkpoint"))
        tries = []
        for _ in range(TRIES):
            before = len(steps_of(run_dir, "training-started"))
            with a_driver(job) as run_dir:
                wait_for("training", lambda: len(steps_of(run_dir, "training-started")) > before)
            events = read_json_lines(run_dir / "events.jsonl")
            times = [
                [float(str(e["time"])) for e in events if e["event"] == kind][-1]
                for kind in ("attempt-started", "training-started")
            ]
            assert steps_of(run_dir, "training-started")[-1] == step
            tries.append(times[1] - times[0])
        found[share] = median(tries)
    return found
