"""W6: from the command to the first optimiser step, with and without a Ray that runs already."""

import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import ray
import yaml

from benchmarks.harness.outcome import Outcome, Settings, at_most, figure
from benchmarks.harness.repeat import ROOT, Contender, Reading, run_rounds
from benchmarks.workloads.stamped_work import BATCH, read_stamps
from benchmarks.workloads.tabular_work import write_data

NAME = "startup"
TITLE = "W6: from the command to the first optimiser step"
WORKERS, EPOCHS = 2, 2
_ROWS, _LIMIT_S = 200_000, 240.0


def run(settings: Settings) -> Outcome:
    """Ours, Ray Train by hand with all that helps its start, and with Ray's defaults."""
    data = write_data(settings.folder, rows=_ROWS)
    rounds = 1 if settings.quick else settings.rounds
    kinds = ("ours", "tuned") if settings.quick else ("ours", "tuned", "default")
    states = ("cold",) if settings.quick else ("cold", "warm")
    contenders = [
        Contender(
            name=f"{kind}, {state}",
            call=f"{__name__}:measure",
            arguments={"kind": kind, "data": str(data), "warm": state == "warm"},
        )
        for state in states
        for kind in kinds
    ]
    found = run_rounds(contenders, rounds=rounds)
    checks = []
    for state in states:
        ours = found.series(f"ours, {state}", "first_step_s")
        for kind, target in (("tuned", 1.03), ("default", 0.6)):
            if kind in kinds:
                theirs = found.series(f"{kind}, {state}", "first_step_s")
                checks.append(at_most(f"ours / {kind} script, {state}", ours.over(theirs), target))
    gap = found.series("ours, cold", "epoch_gap_ms")
    return Outcome(
        name=NAME,
        title=TITLE,
        figures=[
            *(figure(c.name, "s", found.series(c.name, "first_step_s")) for c in contenders),
            *(
                figure(f"{c.name}, epoch boundary", "ms", found.series(c.name, "epoch_gap_ms"))
                for c in contenders
            ),
        ],
        checks=[*checks, at_most("epoch boundary over a steady step, ms", gap, 50.0)],
        notes=[
            f"{WORKERS} training workers, 2 preprocessing workers, {_ROWS:,} rows, batches of"
            f" {BATCH:,}. Cold begins with the command and no Ray; warm with a cluster that is up."
        ],
    )


def measure(*, kind: str, data: str, warm: bool) -> Reading:
    """One start of one of them."""
    with tempfile.TemporaryDirectory(prefix="start-") as name, _cluster(warm) as address:
        folder = Path(name)
        stamps = folder / "stamps"
        # What a cluster is sent has to be small: no more than the code that is needed.
        code = folder / "code"
        shutil.copytree(ROOT / "benchmarks", code / "benchmarks")
        command = [sys.executable, "-m"]
        if kind == "ours":
            command += ["orchestrator", "run", str(write_job(folder, code, stamps, data, address))]
        else:
            arguments = {
                "data": data,
                "stamps": str(stamps),
                "storage": str(folder / "runs"),
                "workers": WORKERS,
                "epochs": EPOCHS,
                "tuned": kind == "tuned",
                "address": address,
            }
            command += ["benchmarks.scripts.torch_trainer", json.dumps(arguments)]
        began = time.monotonic()
        done = subprocess.run(
            command,
            cwd=code,
            env={**os.environ, "PYTHONPATH": f"{code}:{ROOT}"},
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{kind}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        moments = [moment for moment, _ in read_stamps(stamps)]
        return {"first_step_s": moments[0] - began, "epoch_gap_ms": _epoch_gap_s(moments) * 1e3}


def _epoch_gap_s(moments: list[float]) -> float:
    """What the first step of the second epoch takes more than a step does."""
    steps = [after - before for before, after in pairwise(moments)]
    return steps[len(moments) // EPOCHS - 1] - statistics.median(steps)


def write_job(
    folder: Path, code: Path, stamps: Path, data: str, address: str, *, step_s: float = 0.0
) -> Path:
    """A job over these data that stamps its steps, each of at least `step_s`."""
    job = {
        "name": "start",
        "dataset": {"train": {"paths": data}, "shuffle": {"type": "window", "rows": 16_384}},
        "transforms": [{"use": "benchmarks.workloads.tabular_work:preprocess"}],
        "training": {
            "task": "benchmarks.workloads.stamped_work:StampedTask",
            "with": {"stamps": str(stamps), "step_s": step_s},
            "epochs": EPOCHS,
            "global_batch_size": BATCH,
        },
        "scaling": {"workers": WORKERS, "preprocessing": {"workers": 2}},
        "checkpoint": {"storage": str(folder / "runs")},
        "runtime": {"working_dir": str(code), "address": address},
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    return path


@contextmanager
def _cluster(warm: bool) -> Iterator[str]:
    """The address to start with: of a Ray that is up, or "local"."""
    if not warm:
        yield "local"
        return
    with tempfile.TemporaryDirectory(prefix="ob") as folder:
        ray.init(
            address="local",
            num_cpus=8,
            include_dashboard=False,
            logging_level=logging.WARNING,
            _temp_dir=folder,
        )
        try:
            # Its own processes are still starting when it answers.
            time.sleep(5)
            yield ray.get_runtime_context().gcs_address
        finally:
            ray.shutdown()
