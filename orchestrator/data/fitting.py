"""The pass over the training rows that fits a transform: measured in workers, merged in order."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from ray import cloudpickle

from orchestrator.data.blame import USER_ERRORS, RowsAtHand, UserCodeError, with_blame
from orchestrator.data.codec import Columns
from orchestrator.data.fitted import FittedState
from orchestrator.data.parquet_read import read_pieces
from orchestrator.data.passes import found_block, run_pass
from orchestrator.data.row_changes import units_of
from orchestrator.data.sieve import ReadRows, Sieve, sieve_of
from orchestrator.data.transforms import bind_transforms
from orchestrator.errors import DataError
from orchestrator.plan.fitted import PlannedFit, measured_rows, measured_windows
from orchestrator.plan.order import Piece
from orchestrator.plan.origins import Rows
from orchestrator.plan.stream import StreamPlan

# Of rows that a filter has left none of, there is no summary.
_NOTHING = object()


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
        self._sieve = sieve_of(task.stream, task.root)

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> Iterator[pa.Table]:
        """Numbers of windows to their summaries."""
        measure = self._measure if self._sieve is None else partial(self._sifted, self._sieve)
        for number in batch["id"]:
            yield found_block(
                int(number), [self._pickled(summary) for summary in measure(int(number))]
            )

    def _sifted(self, sieve: Sieve, number: int) -> Iterator[object]:
        """As `_measure`, without the rows on which reading or an earlier transform fails.

        They are the first of those that the pass for bad rows will find.
        """
        for fragment in self._task.windows[number]:
            read = sieve.read(fragment)
            for start in range(0, len(read.rows), self._task.rows):
                rows = read.rows[start : start + self._task.rows]
                good, left = sieve.try_out(partial(self._left, read), rows)
                if left:
                    at_hand = RowsAtHand(
                        index=self._task.stream.index, root=self._task.root, rows=good, epoch=0
                    )
                    yield self._of_all(left, at_hand)

    def _left(self, read: ReadRows, rows: Rows) -> Columns:
        """What the transforms before leave of some of the rows."""
        return units_of(self._before, read.taken(rows), rows).columns

    def _of_all(self, left: Columns, at_hand: RowsAtHand) -> object:
        try:
            return self._transform.measure(left)
        except UserCodeError as failed:
            raise failed.told(at_hand.told(0, len(at_hand.rows))) from failed.error

    def _measure(self, number: int) -> Iterator[object]:
        index, fragments = self._task.stream.index, self._task.windows[number]
        sizes = index.fragment_rows
        whole = [Piece(fragment=f, start=0, stop=int(sizes[f])) for f in fragments]
        source = read_pieces(index, whole)
        first, last = int(self._firsts[fragments.start]), int(self._firsts[fragments.stop])
        for start in range(first, last, self._task.rows):
            rows = np.arange(start, min(start + self._task.rows, last))
            at_hand = RowsAtHand(index=index, root=self._task.root, rows=rows, epoch=0)
            summary = with_blame(partial(self._summary, source, rows, first), at_hand)
            if summary is not _NOTHING:
                yield summary

    def _summary(self, source: Columns, rows: Rows, first: int, part: slice) -> object:
        chosen = rows[part]
        # Copied, because a transform may write into what it gets.
        columns = {name: column[chosen - first] for name, column in source.items()}
        left = units_of(self._before, columns, chosen).columns
        return self._transform.measure(left) if left else _NOTHING

    def _pickled(self, summary: object) -> bytes:
        try:
            return bytes(cloudpickle.dumps(summary))  # type: ignore[no-untyped-call] # Ray's copy
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
    uses = [spec.use for spec in task.stream.transforms[: task.number + 1]]
    reading, *_ = task.stream.stages
    pickled = run_pass(MeasureStage, task, windows=len(task.windows), stage=reading, uses=uses)
    return [_unpickled(summary, uses[-1]) for summary in pickled]


def _unpickled(summary: bytes, name: str) -> object:
    try:
        return cloudpickle.loads(summary)
    except USER_ERRORS as error:  # unpickling runs the user's code, which may raise anything
        raise DataError(
            f"transform {name}: what measure returned cannot be read in the driver:"
            f" {type(error).__name__}: {error}"
        ) from error
