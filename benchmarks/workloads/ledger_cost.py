"""What it costs to record which rows made which step: whole runs with the ledger and without."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from rich.console import Console

from benchmarks.harness.outcome import Outcome, Settings, at_least, figure
from benchmarks.harness.repeat import ROOT, Contender, Reading, run_rounds
from benchmarks.tiny import write_rows
from orchestrator import load_job, run_job
from orchestrator.jsonl import read_json_lines
from orchestrator.ledger.recorder import RowRecorder
from orchestrator.plan.origins import Origins
from orchestrator.report.records import TrainRecord, parse_records

NAME = "ledger_cost"
TITLE = "The ledger on against off, whole training runs"
_TARGET = 0.99
_BATCH, _STEP_S = 1024, 0.005
# The part of a run's rows that is trained before the clock starts.
_WARM_UP = 0.2
_NOTED, _STEPS_A_SUPERBLOCK = 20_000, 32


def run(settings: Settings) -> Outcome:
    """Rows a second of training with the ledger and without."""
    steps = 300 if settings.quick else 2_000
    data = settings.folder / f"tiny-{steps * _BATCH}"
    if not data.exists():
        write_rows(data, steps * _BATCH)
    contenders = [
        Contender(
            name=f"ledger {'on' if ledger else 'off'}",
            call=f"{__name__}:train",
            arguments={"data": str(data), "steps": steps, "ledger": ledger},
        )
        for ledger in (True, False)
    ]
    noting = Contender(name="noting a step", call=f"{__name__}:note", arguments={"rows": _BATCH})
    found = run_rounds([*contenders, noting], rounds=1 if settings.quick else settings.rounds)
    on, off = (found.series(each.name, "rows_per_s") for each in contenders)
    return Outcome(
        name=NAME,
        title=TITLE,
        figures=[
            figure("ledger on", "rows/s", on),
            figure("ledger off", "rows/s", off),
            figure(noting.name, "s", found.series(noting.name, "seconds")),
        ],
        checks=[at_least("ledger on over off", on.over(off), _TARGET)],
        notes=[
            f"Steps of {_BATCH:,} tiny rows that take {_STEP_S * 1e3:.0f} ms and a little, as with"
            " an accelerator; four checkpoints a run, each with a chunk of the ledger. From"
            f" {_WARM_UP:.0%} of the steps on, by the run's own records.",
        ],
    )


def train(*, data: str, steps: int, ledger: bool) -> Reading:
    """One repetition: a run from start to end, in a Ray of its own."""
    with tempfile.TemporaryDirectory(prefix="ob") as name:
        folder = Path(name)
        job = {
            "name": "ledger",
            "runtime": {"working_dir": str(ROOT)},
            "dataset": {"train": {"paths": data}},
            "training": {
                "task": "benchmarks.tiny:TinyTask",
                "with": {"step_s": _STEP_S},
                "epochs": 1,
                "global_batch_size": _BATCH,
                "report_every": steps // 20,
            },
            "checkpoint": {
                "storage": str(folder),
                "every": f"{steps // 4} steps",
                "ledger": ledger,
            },
        }
        path = folder / "job.yaml"
        path.write_text(yaml.safe_dump(job))
        # The last line of the output is the reading's.
        run_job(load_job(path), console=Console(stderr=True))
        records = parse_records(read_json_lines(folder / "ledger" / "metrics.jsonl"))
    reports = [record for record in records if isinstance(record, TrainRecord)]
    first = next(report for report in reports if report.step >= _WARM_UP * steps)
    last = reports[-1]
    if last.step != steps:
        raise ValueError(f"the last report is of step {last.step:,}, wanted {steps:,}")
    return {"rows_per_s": (last.rows - first.rows) / (last.time - first.time)}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Share:
    """A rank's share of a batch, as far as the ledger looks at it."""

    superblock: int
    offset: int
    origins: Origins


def note(*, rows: int) -> Reading:
    """Seconds that a rank takes to note a step, the mean over many; other rows in each."""
    numbers = np.random.default_rng(0).integers(0, 1 << 30, rows + _STEPS_A_SUPERBLOCK)
    recorder = RowRecorder(0)
    began = time.perf_counter()
    for step in range(_NOTED):
        superblock, offset = divmod(step, _STEPS_A_SUPERBLOCK)
        origins = Origins(rows=numbers[offset : offset + rows])
        recorder.add(_Share(superblock=superblock, offset=offset, origins=origins), step=step)
    recorder.take()
    return {"seconds": (time.perf_counter() - began) / _NOTED}
