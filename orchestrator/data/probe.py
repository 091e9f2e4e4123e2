"""Measures, in a process of its own, what the first rows of a stream cost.

    python -m orchestrator.data.probe < the pickled StageTask > the MeasuredCost as JSON

Apart, because the rows go through the user's code, which may take its time or end its process.
"""

import json
import os
import pickle
import signal
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from orchestrator.data.reader import ReadStage, Spent, StageTask
from orchestrator.errors import OrchestratorError
from orchestrator.plan.tuning import MeasuredCost

# Seconds of measuring, after the first superblock: that one pays for imports and first calls.
_ENOUGH_S = 1.0
# Whatever happens, also to the driver, the process ends.
_LIMIT_S = 20
# Below what else starts at the same time.
_NICE = 5


def measure_cost(task: StageTask) -> MeasuredCost:
    """What reading and transforming costs a row, from the first window or two of the stream.

    Raises:
        DataError: a file cannot be read, or a transform raised.
    """
    stage = ReadStage(task)
    superblocks = len(task.superblocks)
    windows = min(2, -(-superblocks // task.stream.geometry.superblocks_per_window))
    warm, began = Spent(), None
    blocks = 0
    for window in range(windows):
        for _ in stage({"id": np.array([window])}):
            blocks += 1
            if began is None:
                # Of a stream of a single superblock, the first calls are all there is.
                warm = replace(stage.spent) if superblocks > 1 else warm
                began = _Clocks()
            elif began.wall_s() > _ENOUGH_S:
                return _cost(stage.spent, warm, began)
    return _cost(stage.spent, warm, began or _Clocks())


class _Clocks:
    """Wall time, time on a core, and time in the queue for one, since this was made."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), time.process_time(), _queued_s()

    def wall_s(self) -> float:
        return time.perf_counter() - self._began[0]

    def queued_s(self) -> float:
        return _queued_s() - self._began[2]

    def cpu_s(self) -> float:
        return time.process_time() - self._began[1]


def _cost(spent: Spent, warm: Spent, clocks: _Clocks) -> MeasuredCost:
    wall, queued = clocks.wall_s(), clocks.queued_s()
    at_work = max(1e-9, wall - queued)
    # What is read once serves all superblocks of its window, the first one too.
    read_rows, read_s = spent.read_rows, spent.read_s
    work_rows = max(1, spent.work_rows - warm.work_rows)
    fair = at_work / max(1e-9, wall)
    return MeasuredCost(
        rows=spent.work_rows,
        read_s=read_s / max(1, read_rows) * fair,
        work_s=(spent.work_s - warm.work_s) / work_rows * fair,
        busy=min(1.0, clocks.cpu_s() / at_work),
        row_bytes=spent.made_bytes / max(1, spent.work_rows),
    )


def _queued_s() -> float:
    """Seconds that this process has waited for a core; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def main() -> None:
    signal.alarm(_LIMIT_S)
    os.nice(_NICE)
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    # What the user's code prints goes to where its errors go.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # From the parent process, nobody else.
    task: StageTask = pickle.load(sys.stdin.buffer)
    try:
        cost = measure_cost(task)
    except OrchestratorError as error:
        sys.exit(str(error).partition("\n")[0])
    json.dump(asdict(cost), answer)
    answer.close()


if __name__ == "__main__":
    main()
