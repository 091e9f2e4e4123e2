"""What the ledger costs a step, beside the steps of a run of any job."""

import argparse
import statistics
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from orchestrator.jsonl import read_json_lines
from orchestrator.ledger.recorder import RowRecorder
from orchestrator.plan.origins import Origins
from orchestrator.report.records import TrainRecord, parse_records

STEPS, STEPS_A_SUPERBLOCK = 20_000, 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """A rank's share of a batch, as far as the ledger looks at it."""

    superblock: int
    offset: int
    origins: Origins


def main() -> None:
    """Prints the seconds that a rank notes a step in, and their part of the run's own steps."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger_cost")
    parser.add_argument("run", type=Path, help="directory of a run that has been trained")
    parser.add_argument("--rows", type=int, default=1_024, help="rows of a rank's share of a step")
    asked = parser.parse_args()
    noted, step = noting_s(asked.rows), step_s(asked.run)
    print(f"noting a step of {asked.rows:,} rows: {noted * 1e6:.1f} us")
    print(f"a step of {asked.run.name}: {step * 1e3:.2f} ms")
    print(f"part of it: {noted / step:.2%}")


def noting_s(rows: int) -> float:
    """Seconds that a rank takes to note a step, the mean over many; other rows in each."""
    numbers = np.random.default_rng(0).integers(0, 1 << 30, rows + STEPS_A_SUPERBLOCK)
    recorder = RowRecorder(0)
    began = time.perf_counter()
    for step in range(STEPS):
        superblock, offset = divmod(step, STEPS_A_SUPERBLOCK)
        origins = Origins(rows=numbers[offset : offset + rows])
        recorder.add(Share(superblock=superblock, offset=offset, origins=origins), step=step)
    recorder.take()
    return (time.perf_counter() - began) / STEPS


def step_s(run: Path) -> float:
    """Seconds of the run's median step, by its own reports."""
    records = parse_records(read_json_lines(run / "metrics.jsonl"))
    reports = [record for record in records if isinstance(record, TrainRecord)]
    steps = [
        (later.rows - before.rows) / later.rows_per_s / (later.step - before.step)
        for before, later in pairwise(reports)
        if later.attempt == before.attempt
    ]
    return statistics.median(steps)


if __name__ == "__main__":
    main()
