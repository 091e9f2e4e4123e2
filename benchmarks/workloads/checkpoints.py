"""W7: what saving costs: whole training runs, saved every 10 s, every 2 s, and not before the end.

The training stands still for a copy of the state to host memory; it shares the machine with the
thread that writes, hashes and commits it. Both are in the ratios. The share of the time that it
stood still is shown by itself.
"""

import tempfile
from pathlib import Path

import yaml
from rich.console import Console

from benchmarks.harness.outcome import Outcome, Settings, at_least, figure
from benchmarks.harness.repeat import ROOT, Contender, Reading, run_rounds
from benchmarks.tiny import write_rows
from orchestrator import load_job, run_job
from orchestrator.jsonl import read_json_lines
from orchestrator.report.records import TrainRecord, parse_records

NAME = "checkpoints"
TITLE = "W7: saving every 10 s and every 2 s against not saving"
# What has to be left of the rows a second without saving.
TARGETS = {"10s": 0.99, "2s": 0.97}
UNSAVED = "1000h"
_BATCH = 32
# The part of a run's steps that is trained before the clock starts.
_WARM_UP = 0.1


def run(settings: Settings) -> Outcome:
    """Rows a second of the same training, by how often it is saved; in short without 10 s."""
    steps = 150 if settings.quick else 800
    data = settings.folder / f"tiny-{steps * _BATCH}"
    if not data.exists():
        write_rows(data, steps * _BATCH)
    intervals = ["2s"] if settings.quick else list(TARGETS)
    contenders = [
        Contender(
            name=f"saved every {every}" if every != UNSAVED else "not saved",
            call=f"{__name__}:train",
            arguments={"data": str(data), "steps": steps, "every": every},
        )
        for every in [*intervals, UNSAVED]
    ]
    found = run_rounds(contenders, rounds=1 if settings.quick else settings.rounds)
    rates = [found.series(each.name, "rows_per_s") for each in contenders]
    saved = contenders[:-1]
    return Outcome(
        name=NAME,
        title=TITLE,
        figures=[
            *(
                figure(each.name, "rows/s", rate)
                for each, rate in zip(contenders, rates, strict=True)
            ),
            *(
                figure(f"{each.name}: {words}", unit, found.series(each.name, key))
                for each in saved
                for words, unit, key in (
                    ("share of the time it stood still", "", "held_share"),
                    ("longest save, to its commit", "s", "save_s"),
                )
            ),
        ],
        checks=[
            at_least(f"{each.name} over not saved", rate.over(rates[-1]), TARGETS[every])
            for each, rate, every in zip(saved, rates, intervals, strict=False)
        ],
        notes=[
            f"{steps:,} steps of {_BATCH} rows on one worker; a checkpoint holds about 100 MB."
            f" From {_WARM_UP:.0%} of the steps on, by the run's own records; the save at the end"
            " comes after the last of them.",
        ],
    )


def train(*, data: str, steps: int, every: str) -> Reading:
    """One repetition: a run from start to end, in a Ray of its own."""
    with tempfile.TemporaryDirectory(prefix="ob") as name:
        folder = Path(name)
        job = {
            "name": "saved",
            "runtime": {"working_dir": str(ROOT)},
            "dataset": {"train": {"paths": data}},
            "training": {
                "task": "benchmarks.workloads.checkpoints_work:WideTask",
                "epochs": 1,
                "global_batch_size": _BATCH,
                "report_every": max(1, steps // 50),
            },
            "checkpoint": {"storage": str(folder), "every": every},
        }
        path = folder / "job.yaml"
        path.write_text(yaml.safe_dump(job))
        # The last line of the output is the reading's.
        run_job(load_job(path), console=Console(stderr=True))
        records = parse_records(read_json_lines(folder / "saved" / "metrics.jsonl"))
        events = read_json_lines(folder / "saved" / "events.jsonl")
    reports = [record for record in records if isinstance(record, TrainRecord)]
    first = next(report for report in reports if report.step >= _WARM_UP * steps)
    last = reports[-1]
    if last.step != steps:
        raise ValueError(f"the last report is of step {last.step:,}, wanted {steps:,}")
    seconds = last.time - first.time
    within = [
        (float(str(event["held_s"])), float(str(event["seconds"])))
        for event in events
        if event["event"] == "checkpoint" and first.step < int(str(event["step"])) < steps
    ]
    return {
        "rows_per_s": (last.rows - first.rows) / seconds,
        "held_share": sum(held for held, _ in within) / seconds,
        "save_s": max((took for _, took in within), default=0.0),
    }
