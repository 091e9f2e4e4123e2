"""Who is to blame when user code raises: the transform, the very row, its file, and the line."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import DataError
from orchestrator.plan.index import DatasetIndex
from orchestrator.symbols import user_trace

Result = TypeVar("Result")

# A transform that ends its process would take the worker along, and say nothing.
USER_ERRORS = (Exception, SystemExit)


class UserCodeError(Exception):
    """A call of the user's code raised `error` on rows [start, stop) of those at hand."""

    def __init__(self, what: str, error: BaseException, *, root: Path, start: int, stop: int):
        super().__init__(what)
        self.what = what
        self.error = error
        self.start = start
        self.stop = stop
        self.trace = user_trace(error, root)

    def is_like(self, other: "UserCodeError") -> bool:
        """Whether both are the same mistake: raised by the same lines, of the same type."""
        return (self.what, type(self.error), self.trace) == (
            other.what,
            type(other.error),
            other.trace,
        )

    def told(self, where: str = "") -> DataError:
        """The error as the user reads it; `where` says on which rows, and begins with a space."""
        error = self.error
        told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return DataError(f"{self.what} failed{where}: {told}{self.trace}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RowsAtHand:
    """The rows of a split that some call is about, for messages; `epoch` where that matters."""

    index: DatasetIndex
    root: Path
    rows: NDArray[np.int64]
    epoch: int | None = None

    def told(self, start: int, stop: int) -> str:
        """Some of them in words, with the file of the first."""
        rows = [int(row) for row in self.rows[start:stop]]
        if not rows:
            return " on no rows, which a transform gets to tell its columns"
        path, number = self.index.locate(rows[0])
        file = Path(path)
        name = file.relative_to(self.root) if file.is_relative_to(self.root) else file
        epoch = "" if self.epoch is None else f" of epoch {self.epoch}"
        if len(rows) == 1:
            return f" on row {rows[0]}{epoch} ({name}, row {number})"
        shown = ", ".join(str(row) for row in rows[:5])
        more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
        first = f"{name}, from row {number} on"
        return f" on rows {shown}{more}{epoch} ({first})"


def with_blame(work: Callable[[slice], Result], at_hand: RowsAtHand) -> Result:
    """What the work makes of all the rows at hand.

    Args:
        work: takes any part of them; where it fails it is done again with smaller ones.

    Raises:
        DataError: the user's code raised: it names the first row with which it does so alone, or
            else all rows of the call.
    """
    try:
        return work(slice(0, len(at_hand.rows)))
    except UserCodeError as failed:
        found = _first_alone(failed, work) or failed
        raise found.told(at_hand.told(found.start, found.stop)) from found.error


def _first_alone(failed: UserCodeError, again: Callable[[slice], object]) -> UserCodeError | None:
    """The same failure on a single row, by halving; None where no row fails alone."""
    found = failed
    while found.stop - found.start > 1:
        middle = (found.start + found.stop) // 2
        for half in slice(found.start, middle), slice(middle, found.stop):
            smaller = _failure(again, half)
            if smaller is not None and smaller.is_like(failed):
                found = smaller
                break
        else:
            return None
    return found


def _failure(again: Callable[[slice], object], part: slice) -> UserCodeError | None:
    try:
        again(part)
    except UserCodeError as error:
        error.start += part.start
        error.stop += part.start
        return error
    except DataError:  # another mistake, which fewer rows bring about
        return None
    return None
