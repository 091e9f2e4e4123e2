"""Bad rows told from good ones: by halving, until what fails is a row alone.

Which rows are bad must not depend on who looks, or how often: a lost worker's rows are always gone
through again, and the order of all rows follows from it.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np

from orchestrator.data.blame import RowsAtHand, UserCodeError
from orchestrator.data.codec import Columns
from orchestrator.data.parquet_read import UnreadableError, read_pieces
from orchestrator.data.quarantine_file import BadRow
from orchestrator.data.transient import retried
from orchestrator.errors import DataError
from orchestrator.plan.index import DatasetIndex
from orchestrator.plan.order import Piece
from orchestrator.plan.origins import Rows
from orchestrator.plan.stream import StreamPlan

Result = TypeVar("Result")

READING = "read"
# Whether bytes make sense is not left to a single look: storage may have its moments.
_SECOND_LOOK_S = 0.5
_LONGEST_ERROR = 500
# Where an object lies is another place each time: "<_io.BytesIO object at 0x7f...>".
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_FAILURES = (UserCodeError, UnreadableError)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadRows:
    """The rows of a fragment that can be read, ascending, and their columns."""

    rows: Rows
    columns: Columns

    def taken(self, rows: Rows) -> Columns:
        """The columns of some of the rows, made anew, since a transform may write into them."""
        places = np.searchsorted(self.rows, rows)
        return {name: column[places] for name, column in self.columns.items()}


class Sieve:
    """Finds the bad rows of a split, in one worker.

    Args:
        most: how many bad rows there may be in all.
        where: the spec's path of the split, for messages.
    """

    def __init__(self, index: DatasetIndex, *, root: Path, most: int, where: str) -> None:
        self._index = index
        self._root = root
        self._most = most
        self._where = where
        # By their numbers: a fragment may have to be gone through again.
        self._bad: dict[int, BadRow] = {}

    def told(self, rows: Rows) -> list[BadRow]:
        """What is wrong with rows that have been found to be bad."""
        return [self._bad[row] for row in rows.tolist()]

    def read(self, fragment: int) -> ReadRows:
        """The rows of a fragment that can be read.

        Raises:
            DataError: the file has changed, or there are too many bad rows.
            OSError: the storage failed, and went on failing.
        """
        first = int(self._index.fragment_starts[fragment])
        rows = np.arange(first, first + int(self._index.fragment_rows[fragment]))

        def read(chosen: Rows) -> Columns:
            return read_pieces(self._index, pieces_of(fragment, chosen - first))

        try:
            return ReadRows(rows=rows, columns=read(rows))
        except UnreadableError:
            time.sleep(_SECOND_LOOK_S)
        try:
            # No row of it: what fails now is the fragment as a whole.
            read(rows[:0])
        except UnreadableError as error:
            for row in rows.tolist():
                self._note(row, error)
            return ReadRows(rows=rows[:0], columns={})
        good, columns = self.sift(read, rows)
        return ReadRows(rows=good, columns=columns or {})

    def try_out(self, work: Callable[[Rows], Result], rows: Rows) -> tuple[Rows, Result | None]:
        """The good ones of some rows, and what the work gives for these; None where none is good.

        Args:
            work: calls transforms with rows, any part of those given.

        Raises:
            DataError: no row fails alone, something outside the rows failed, or there are too many
                bad rows.
        """

        def call(chosen: Rows) -> Result:
            told = RowsAtHand(index=self._index, root=self._root, rows=chosen).told
            return retried(lambda: work(chosen), told)

        try:
            return self.sift(call, rows)
        except UserCodeError as failed:
            at_hand = RowsAtHand(index=self._index, root=self._root, rows=rows)
            error = failed.told(at_hand.told(0, len(rows)))
            error.hint = "none of these rows fails alone, so that none can be quarantined"
            raise error from failed.error

    def sift(self, work: Callable[[Rows], Result], rows: Rows) -> tuple[Rows, Result | None]:
        """As `try_out`; where no row fails alone, what failed on all of them is raised as it is."""
        try:
            return rows, work(rows)
        except _FAILURES as error:
            bad = self._alone(work, rows, error)
            if not bad:
                raise
        good = rows[~np.isin(rows, bad)]
        return good, work(good) if len(good) else None

    def _alone(
        self, work: Callable[[Rows], object], rows: Rows, error: UserCodeError | UnreadableError
    ) -> list[int]:
        """Which of some rows, on which the work failed together, are bad alone."""
        if len(rows) == 1:
            self._note(int(rows[0]), error)
            return [int(rows[0])]
        found: list[int] = []
        middle = len(rows) // 2
        for half in (rows[:middle], rows[middle:]):
            try:
                work(half)
            except _FAILURES as failed:
                found += self._alone(work, half, failed)
        return found

    def _note(self, row: int, error: UserCodeError | UnreadableError) -> None:
        if isinstance(error, UserCodeError):
            raised, stage = error.error, error.what
            told = f"{type(raised).__name__}: {raised}" if str(raised) else type(raised).__name__
        else:
            told, stage = str(error), READING
        told = _ADDRESS.sub("", told)[:_LONGEST_ERROR]
        self._bad[row] = bad = BadRow(row=row, stage=stage, error=told)
        if len(self._bad) > self._most:
            # No need to go on: this worker alone has found too many.
            raise over_budget(self._index, bad, most=self._most, where=self._where)


def sieve_of(stream: StreamPlan, root: Path) -> Sieve | None:
    """The sieve for a stream; None where a bad row ends the run."""
    counting = stream.counting
    if counting is None or counting.most_errors is None:
        return None
    where = f"dataset.{stream.split}"
    return Sieve(stream.index, root=root, most=counting.most_errors, where=where)


def over_budget(
    index: DatasetIndex, example: BadRow, *, most: int, where: str, found: int | None = None
) -> DataError:
    """That more rows are bad than the spec allows.

    Args:
        example: one of them.
        found: how many are bad, where that is known.
    """
    path, place = index.locate(example.row)
    count = f"more than {most:,}" if found is None else f"{found:,}"
    return DataError(
        f"dataset.max_errors: {count} of the {index.rows:,} rows of {where} cannot be used, and"
        f" {most:,} may be; one of them is row {example.row} ({path}, row {place}):"
        f" {example.stage}: {example.error}",
        hint="mend the data or the transform, or raise dataset.max_errors",
    )


def pieces_of(fragment: int, places: Rows) -> Sequence[Piece]:
    """Places in a fragment, ascending, as the stretches they are made of; one at least."""
    cuts = np.flatnonzero(np.diff(places) != 1) + 1
    edges = [0, *cuts.tolist(), len(places)]
    if not len(places):
        return [Piece(fragment=fragment, start=0, stop=0)]
    return [
        Piece(fragment=fragment, start=int(places[start]), stop=int(places[stop - 1]) + 1)
        for start, stop in pairwise(edges)
    ]
