"""The pass over the training rows that fits a transform: measured in workers, merged in order."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import ray
from numpy.typing import NDArray
from ray import cloudpickle

from orchestrator.data.blame import USER_ERRORS, RowsAtHand, with_blame
from orchestrator.data.codec import Columns
from orchestrator.data.deaths import named_deaths
from orchestrator.data.fitted import FittedState
from orchestrator.data.parquet_read import read_pieces
from orchestrator.data.pipeline import map_in_pool, number_windows, stream_context
from orchestrator.data.transforms import apply_all, bind_transforms
from orchestrator.errors import DataError
from orchestrator.plan.fitted import PlannedFit, measured_rows, measured_windows
from orchestrator.plan.order import Piece
from orchestrator.plan.origins import Origins
from orchestrator.plan.stream import StreamPlan

# The columns of what a task returns: its window, and its summaries, pickled one by one.
_WINDOW, _SUMMARIES = "window", "summaries"


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureTask:
    """What a worker of the pass needs to know.

    `number` is the transform's among the stream's, `windows` are the fragments of each call, and
    `rows` is the most that is measured at a time.
    """

    stream: StreamPlan
    number: int
    windows: tuple[range, ...]
    rows: int
    root: Path
    fitted: tuple[FittedState, ...]


class MeasureStage:
    """Reads windows in the order of the files and measures them; made once in each worker."""

    def __init__(self, task: MeasureTask) -> None:
        numbers = range(task.number + 1)
        bound = bind_transforms(task.stream, numbers, root=task.root, fitted=task.fitted)
        *self._before, self._transform = bound
        self._task = task
        self._firsts = np.concatenate([[0], np.cumsum(task.stream.index.fragment_rows)])

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> Iterator[pa.Table]:
        """Numbers of windows to their summaries."""
        for number in batch["id"]:
            summaries = [self._pickled(summary) for summary in self._measure(int(number))]
            cell = pa.array([summaries], type=pa.list_(pa.large_binary()))
            yield pa.table({_WINDOW: [int(number)], _SUMMARIES: cell})

    def _measure(self, number: int) -> Iterator[object]:
        index, fragments = self._task.stream.index, self._task.windows[number]
        sizes = index.fragment_rows
        whole = [Piece(fragment=f, start=0, stop=int(sizes[f])) for f in fragments]
        source = read_pieces(index, whole)
        first, last = int(self._firsts[fragments.start]), int(self._firsts[fragments.stop])
        for start in range(first, last, self._task.rows):
            rows = np.arange(start, min(start + self._task.rows, last))
            at_hand = RowsAtHand(index=index, root=self._task.root, rows=rows, epoch=0)
            yield with_blame(partial(self._summary, source, rows, first), at_hand)

    def _summary(self, source: Columns, rows: NDArray[np.int64], first: int, part: slice) -> object:
        chosen = rows[part]
        # Copied, because a transform may write into what it gets.
        columns = {name: column[chosen - first] for name, column in source.items()}
        return self._transform.measure(apply_all(self._before, columns, Origins(rows=chosen), 0))

    def _pickled(self, summary: object) -> bytes:
        try:
            return bytes(cloudpickle.dumps(summary))  # type: ignore[no-untyped-call]
        except USER_ERRORS as error:  # pickling runs the user's code, which may raise anything
            raise DataError(
                f"transform {self._transform.name}: measure returned a {type(summary).__name__}"
                f" that cannot be sent to the driver: {type(error).__name__}: {error}"
            ) from error


def fit_transform(
    stream: StreamPlan, fit: PlannedFit, *, root: Path, fitted: tuple[FittedState, ...]
) -> FittedState:
    """Fits one transform in one pass over the training rows.

    Args:
        fitted: the states of the fitted transforms before it.

    Raises:
        DataError: a method of the transform raised, or returned what it may not.
        ray.exceptions.RayError: the pass failed.
    """
    number = fit.position - 1
    this = range(number, number + 1)
    (transform,) = bind_transforms(stream, this, root=root, fitted=fitted)
    task = MeasureTask(
        stream=stream,
        number=number,
        windows=tuple(measured_windows(stream.index)),
        rows=measured_rows(stream.index, stream.transforms[number]),
        root=root,
        fitted=fitted,
    )
    text = transform.fit(_all_summaries(task))
    state = FittedState(use=fit.use, position=fit.position, text=text)
    # In a fresh one, as workers do it: what cannot be loaded is told before anything is trained.
    bind_transforms(stream, this, root=root, fitted=(*fitted, state))
    return state


def _all_summaries(task: MeasureTask) -> list[object]:
    """The summaries of all rows, in the order of the data."""
    # Read in a process of Ray's. Ray Data would else run in this one, go on when the user wants an
    # end, and take the process down where it meets a Ray that has been shut down.
    collect = ray.remote(num_cpus=0, max_retries=0)(_collect)
    pickled: list[bytes] = ray.get(collect.remote(task))
    name = task.stream.transforms[task.number].use
    return [_unpickled(summary, name) for summary in pickled]


def _collect(task: MeasureTask) -> list[bytes]:
    """The summaries of all rows, pickled, in the order of the data."""
    reading, *_ = task.stream.stages
    with stream_context([reading]):
        numbers = number_windows(len(task.windows))
        dataset = map_in_pool(numbers, MeasureStage, task, reading, batch_format="numpy")
    blocks = cast(
        "Iterable[pa.Table]", dataset.iter_batches(batch_size=None, batch_format="pyarrow")
    )
    uses = [spec.use for spec in task.stream.transforms[: task.number + 1]]
    found: list[int] = []
    summaries: list[bytes] = []
    for block in named_deaths(blocks, uses, through_coordinator=False):
        found += block[_WINDOW].to_pylist()
        for of_window in block[_SUMMARIES].to_pylist():
            summaries += of_window
    if found != list(range(len(task.windows))):
        raise DataError(
            f"transform {uses[-1]}: the pass over the training rows gave other windows than it was"
            f" asked for: {len(found)} of {len(task.windows)}, or not in their order"
        )
    return summaries


def _unpickled(summary: bytes, name: str) -> object:
    try:
        return cloudpickle.loads(summary)
    except USER_ERRORS as error:  # unpickling runs the user's code, which may raise anything
        raise DataError(
            f"transform {name}: what measure returned cannot be read in the driver:"
            f" {type(error).__name__}: {error}"
        ) from error
