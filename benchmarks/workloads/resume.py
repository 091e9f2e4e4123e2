"""W8: what resuming costs early and late in an epoch, and how soon a killed rank's run goes on.

From the restart to the first batch, resumed at 10 % and at 90 % of an epoch: of a reader alone, of
the stream on a Ray of its own, with its actors' start, and of a whole run, killed there and started
again. And from the SIGKILL of a training worker to the next optimiser step.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import yaml
from pydantic import JsonValue

from benchmarks.harness.outcome import Outcome, Settings, at_most, figure
from benchmarks.harness.repeat import ROOT, Contender, Reading, run_rounds
from benchmarks.tiny import write_rows
from benchmarks.workloads.stamped_work import read_stamps
from benchmarks.workloads.startup import WORKERS
from benchmarks.workloads.startup import write_job as write_stamped_job
from benchmarks.workloads.tabular_work import write_data
from orchestrator import load_job, plan_job
from orchestrator.data.feed import Feed
from orchestrator.data.pipeline import build_stream
from orchestrator.data.pools import pool_workers
from orchestrator.data.reader import ReadStage, StageTask
from orchestrator.data.split import end_stream, split_stream, take_blocks
from orchestrator.jsonl import read_json_lines
from orchestrator.plan.accounts import EpochOrigins
from orchestrator.plan.job import JobPlan
from orchestrator.run.session import ray_session

NAME = "resume"
TITLE = "W8: resuming early and late in an epoch, and after a killed worker"
ROWS, WINDOW, BATCH = 3_000_000, 65_536, 1_024
EARLY, LATE = 0.1, 0.9
STREAM_TRIES, READER_TRIES = 2, 40
# A rank is killed after so many steps, each of at least so long.
KILL_AFTER, STEP_S = 20, 0.05
LIMIT_S = 300.0


def run(settings: Settings) -> Outcome:
    """All of it; the quick variant has the reader and the killed rank alone."""
    rows = settings.folder / f"resume-{ROWS}"
    if not rows.exists():
        write_rows(rows, ROWS)
    resumed = ["a reader"] if settings.quick else ["a reader", "the stream on Ray", "a run"]
    calls = {"a reader": "readers", "the stream on Ray": "streams", "a run": "runs"}
    kill = Contender(
        name="a killed rank",
        call=f"{__name__}:killed_rank",
        arguments={"data": str(write_data(settings.folder, rows=200_000))},
    )
    found = run_rounds(
        [
            *(
                Contender(
                    name=name, call=f"{__name__}:{calls[name]}", arguments={"rows": str(rows)}
                )
                for name in resumed
            ),
            kill,
        ],
        rounds=1 if settings.quick else settings.rounds,
    )
    to_step = found.series(kill.name, "next_step_s")
    return Outcome(
        name=NAME,
        title=TITLE,
        figures=[
            *(
                figure(f"{name}, resumed at {share}", "s", found.series(name, key))
                for name in resumed
                for share, key in (("10 %", "early_s"), ("90 %", "late_s"))
            ),
            figure("SIGKILL of a rank to the next step", "s", to_step),
        ],
        checks=[
            *(
                at_most(
                    f"{name}: at 90 % / at 10 %",
                    found.series(name, "late_s").over(found.series(name, "early_s")),
                    1.1,
                )
                for name in resumed
            ),
            at_most("SIGKILL of a rank to the next step, s", to_step, 10.0),
        ],
        notes=[f"{ROWS:,} rows in {-(-ROWS // WINDOW)} windows; {WORKERS} workers where one dies."],
    )


def readers(*, rows: str) -> Reading:
    """A reader, made anew, to its first block."""
    with tempfile.TemporaryDirectory(prefix="resume-") as name:
        plan = plan_job(load_job(write_job(Path(name), rows)))
        return alternately(lambda share: first_block_s(plan, share), tries=READER_TRIES)


def streams(*, rows: str) -> Reading:
    """The stream, built anew on a Ray that is up, to its first batch."""
    with tempfile.TemporaryDirectory(prefix="resume-") as name:
        plan = plan_job(load_job(write_job(Path(name), rows)))
        with ray_session(
            plan.spec.runtime, plan.resources.capacity, run_dir=Path(name), log_to_driver=False
        ):
            first_batch_s(plan, EARLY)  # Ray's own first actors start slower than all others
            return alternately(lambda share: first_batch_s(plan, share), tries=STREAM_TRIES)


def runs(*, rows: str) -> Reading:
    """A run that was killed, from the next attempt's start to its first batch."""
    with tempfile.TemporaryDirectory(prefix="resume-") as name:
        job = write_job(Path(name), rows)
        plan = plan_job(load_job(job))
        stopped = {share: stop_run(job, plan, share) for share in (EARLY, LATE)}
        return alternately(
            lambda share: restart_s(job, stopped[share], step_at(plan, share)), tries=1
        )


def killed_rank(*, data: str) -> Reading:
    """From the SIGKILL of a training worker to the next optimiser step, of another process."""
    with tempfile.TemporaryDirectory(prefix="resume-") as name:
        folder = Path(name)
        stamps = folder / "stamps"
        job = write_stamped_job(folder, ROOT, stamps, data, "local", step_s=STEP_S)
        with a_driver(job, folder / "runs" / "killed") as driver:
            wait_for("steps", lambda: len(read_stamps(stamps)) >= KILL_AFTER)
            before = {process for _, process in read_stamps(stamps)}
            began = time.monotonic()
            _rank_of(driver).kill()
            wait_for("step", lambda: any(p not in before for _, p in read_stamps(stamps)))
            after = next(moment for moment, process in read_stamps(stamps) if process not in before)
            return {"next_step_s": after - began}


def _rank_of(driver: psutil.Process) -> psutil.Process:
    """The newest of a driver's training workers."""
    ranks = [
        process
        for process in driver.children(recursive=True)
        if "ray::RayTrainWorker" in " ".join(process.cmdline())
    ]
    return max(ranks, key=lambda process: process.pid)


def write_job(folder: Path, rows: str) -> Path:
    """An epoch of many windows, with a checkpoint at each tenth of it."""
    tenth = round(-(-ROWS // BATCH) / 10)
    job = {
        "name": "resume",
        "runtime": {"working_dir": str(ROOT)},
        "dataset": {
            "train": {"paths": rows},
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
    split = split_stream(dataset, 1, at_once=True)
    blocks = take_blocks(split.readers[0], stream)
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
    end_stream(split)
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
def a_driver(job: Path, run_dir: Path) -> Iterator[psutil.Process]:
    """`orchestrator run` in a process of its own, which is killed in the end."""
    command = [sys.executable, "-m", "orchestrator", "run", str(job), "--name", run_dir.name]
    driver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        yield psutil.Process(driver.pid)
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


def alternately(seconds: Callable[[float], float], *, tries: int) -> Reading:
    """Medians of early and late tries, in turn, so that a slow moment of the machine hits both."""
    found: dict[float, list[float]] = {EARLY: [], LATE: []}
    for number in range(tries):
        # Nor is one of them always the first.
        for share in (EARLY, LATE) if number % 2 == 0 else (LATE, EARLY):
            found[share].append(seconds(share))
    return {"early_s": median(found[EARLY]), "late_s": median(found[LATE])}
