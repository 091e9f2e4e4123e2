"""The pass that counts what each row gives, where transforms change the number of rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from orchestrator.data.fitted import FittedState
from orchestrator.data.fragment_units import FragmentUnits
from orchestrator.data.passes import found_block, run_pass
from orchestrator.errors import DataError
from orchestrator.plan.fitted import measured_windows
from orchestrator.plan.origins import Counts
from orchestrator.plan.stream import StreamPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class CountTask:
    """What a worker of the pass needs to know; `windows` are the fragments of each call."""

    stream: StreamPlan
    windows: tuple[range, ...]
    root: Path
    fitted: tuple[FittedState, ...]


class CountStage:
    """Reads windows in the order of the files and counts; made once in each worker."""

    def __init__(self, task: CountTask) -> None:
        self._windows = task.windows
        self._units = FragmentUnits(task.stream, root=task.root, fitted=task.fitted)

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> Iterator[pa.Table]:
        """Numbers of windows to the counts of their rows."""
        for number in batch["id"]:
            counts = [self._units.of(fragment).counts for fragment in self._windows[number]]
            yield found_block(int(number), [count.astype("<i4").tobytes() for count in counts])


def count_rows(stream: StreamPlan, *, root: Path, fitted: tuple[FittedState, ...]) -> Counts:
    """How many units each row of the stream's index gives, int32 [rows]; one pass over all rows.

    Args:
        fitted: the states of the fitted transforms.

    Raises:
        DataError: a transform raised, or returned what its kind may not.
        ray.exceptions.RayError: the pass failed.
    """
    assert stream.counting is not None  # nobody counts what is known
    windows = tuple(measured_windows(stream.index))
    task = CountTask(stream=stream, windows=windows, root=root, fitted=fitted)
    uses = [spec.use for spec in stream.transforms[: stream.counting.transforms]]
    reading, *_ = stream.stages
    found = run_pass(CountStage, task, windows=len(windows), stage=reading, uses=uses)
    counts = np.frombuffer(b"".join(found), dtype="<i4").astype(np.int32)
    if len(counts) != stream.index.rows:
        raise DataError(f"{len(counts)} rows were counted, but there are {stream.index.rows}")
    return counts
