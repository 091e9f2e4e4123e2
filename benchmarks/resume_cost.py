"""What resuming costs early and late in an epoch: python -m benchmarks.resume_cost.

From the restart to the first batch, resumed at 10 % and at 90 % of an epoch, medians of several
tries: of a reader alone, and of the stream on a Ray of its own, with its actors' start. With
`--runs`, of whole runs too: `orchestrator run`, killed there and started again.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import yaml
from pydantic import JsonValue

from benchmarks.tiny import write_rows
from orchestrator import load_job, plan_job
from orchestrator.data.feed import Feed
from orchestrator.data.pipeline import build_stream
from orchestrator.data.pools import pool_workers
from orchestrator.data.reader import ReadStage, StageTask
from orchestrator.data.split import split_stream
from orchestrator.jsonl import read_json_lines
from orchestrator.plan.accounts import EpochOrigins
from orchestrator.plan.job import JobPlan
from orchestrator.run.session import ray_session
from orchestrator.units import format_duration

ROOT = Path(__file__).parents[1]
ROWS, WINDOW, BATCH = 3_000_000, 65_536, 1_024
EARLY, LATE = 0.1, 0.9
RUN_TRIES, STREAM_TRIES, READER_TRIES = 3, 6, 40
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
        show("a reader", alternately(lambda share: first_block_s(plan, share), tries=READER_TRIES))
        with ray_session(
            plan.spec.runtime, plan.resources.capacity, run_dir=folder, log_to_driver=False
        ):
            first_batch_s(plan, EARLY)  # Ray's own first actors start slower than all others
            found = alternately(lambda share: first_batch_s(plan, share), tries=STREAM_TRIES)
            show("the stream on Ray", found)
        if options.runs:
            runs = {share: stop_run(job, plan, share) for share in (EARLY, LATE)}
            found = alternately(
                lambda share: restart_s(job, runs[share], step_at(plan, share)), tries=RUN_TRIES
            )
            show("a run", found)


def write_job(folder: Path) -> Path:
    """An epoch of many windows, with a checkpoint at each tenth of it."""
    tenth = round(-(-ROWS // BATCH) / 10)
    job = {
        "name": "resume",
        "runtime": {"working_dir": str(ROOT)},
        "dataset": {
            "train": {"paths": str(folder / "train")},
            "shuffle": {"type": "window", "rows": WINDOW},
        },
        "training": {
            "task": "benchmarks.tiny:TinyTask",
            # Slow enough to be killed before the next checkpoint.
            "with": {"step_s": 0.01},
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
    wait_for("end of the stream before", lambda: all(w.state == "DEAD" for w in pool_workers()))
    began = time.perf_counter()
    dataset = build_stream(stream, root=ROOT, workers=1, superblocks=superblocks)
    (shard,) = split_stream(dataset, 1, at_once=True).readers
    # None is a block as it is, which Ray's types do not know.
    blocks = shard.iter_batches(batch_size=None, batch_format="pyarrow")  # type: ignore[arg-type]
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
    wanted = EpochOrigins(stream.sample_order()).between(0, step * BATCH, (step + 1) * BATCH).rows
    assert np.array_equal(batch.columns["id"], wanted)
    return seconds


def stop_run(job: Path, plan: JobPlan, share: float) -> Path:
    """A run that was killed at this share of its epoch; returns its directory."""
    run_dir = job.parent / "runs" / f"at-{share}"
    with a_driver(job, run_dir):
        step = step_at(plan, share)
        wait_for("the checkpoint", lambda: last_step(run_dir, "checkpoint") == step)
    return run_dir


def restart_s(job: Path, run_dir: Path, step: int) -> float:
    """Seconds from the attempt's start to its first batch; it is killed when it has begun."""
    before = len(events_of(run_dir, "training-started"))
    with a_driver(job, run_dir):
        wait_for("training", lambda: len(events_of(run_dir, "training-started")) > before)
    assert last_step(run_dir, "training-started") == step
    began, trained = (
        float(str(events_of(run_dir, kind)[-1]["time"]))
        for kind in ("attempt-started", "training-started")
    )
    return trained - began


@contextmanager
def a_driver(job: Path, run_dir: Path) -> Iterator[None]:
    """`orchestrator run` in a process of its own, which is killed in the end."""
    command = [sys.executable, "-m", "orchestrator", "run", str(job), "--name", run_dir.name]
    driver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        driver.kill()
        driver.wait()


def events_of(run_dir: Path, kind: str) -> list[dict[str, JsonValue]]:
    """What the run has recorded of this kind so far."""
    events = read_json_lines(run_dir / "events.jsonl")
    return [event for event in events if event["event"] == kind]


def last_step(run_dir: Path, kind: str) -> int:
    """The step of the newest event of a kind; 0 where there is none."""
    events = events_of(run_dir, kind)
    return int(str(events[-1]["step"])) if events else 0


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    """Looks often, so that little is trained between the moment and what follows it."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} in {LIMIT_S:.0f} s")
        time.sleep(0.01)


def step_at(plan: JobPlan, share: float) -> int:
    """The step that this share of the epoch is done after, a whole number of tenths."""
    return round(share * 10) * round(plan.total_steps / 10)


def alternately(seconds: Callable[[float], float], *, tries: int) -> dict[float, float]:
    """Medians of early and late tries, in turn, so that a slow moment of the machine hits both."""
    found: dict[float, list[float]] = {EARLY: [], LATE: []}
    for number in range(tries):
        # Nor is one of them always the first.
        for share in (EARLY, LATE) if number % 2 == 0 else (LATE, EARLY):
            found[share].append(seconds(share))
    return {share: median(values) for share, values in found.items()}


def show(name: str, found: Mapping[float, float]) -> None:
    """Prints a line of the table."""
    early, late = found[EARLY], found[LATE]
    say(f"| {name} | {format_duration(early)} | {format_duration(late)} | {late / early:.2f} |")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
