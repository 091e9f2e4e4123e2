"""What the rows of a fragment give after the transforms that change their number, and checked."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from orchestrator.data.blame import RowsAtHand, with_blame
from orchestrator.data.fitted import FittedState
from orchestrator.data.parquet_read import read_pieces
from orchestrator.data.row_changes import Units, units_of
from orchestrator.data.sieve import pieces_of
from orchestrator.data.transforms import bind_transforms
from orchestrator.errors import DataError
from orchestrator.plan.accounts import counts_digest
from orchestrator.plan.order import Piece
from orchestrator.plan.origins import Counts
from orchestrator.plan.stream import StreamPlan


class FragmentUnits:
    """Reads whole fragments of a stream and applies what changes the number of their rows."""

    def __init__(self, stream: StreamPlan, *, root: Path, fitted: Sequence[FittedState]) -> None:
        assert stream.counting is not None  # all others are read row by row
        self._stream = stream
        self._counting = stream.counting
        self._root = root
        numbers = range(stream.counting.transforms)
        self._transforms = bind_transforms(stream, numbers, root=root, fitted=fitted)
        self._last: tuple[int, Units] | None = None

    def of_pieces(self, pieces: Sequence[Piece]) -> dict[int, Units]:
        """What the rows of the pieces' fragments give, by the number of the fragment.

        Raises:
            DataError: a transform raised, or does not give what was counted of it.
        """
        # Once each, and the last one is kept: the next window may begin with it.
        found = dict([self._last]) if self._last else {}
        for piece in pieces:
            if piece.fragment not in found:
                found[piece.fragment] = self.of(piece.fragment)
        if pieces:
            self._last = (pieces[-1].fragment, found[pieces[-1].fragment])
        return found

    def of(self, fragment: int) -> Units:
        """What the rows of a fragment give.

        Raises:
            DataError: a transform raised, or does not give what was counted of it.
        """
        units = self._read(fragment)
        if self._counting.digests is not None:
            self._check(fragment, units.counts, int(self._counting.digests[fragment]))
        return units

    def _read(self, fragment: int) -> Units:
        index = self._stream.index
        first, size = int(index.fragment_starts[fragment]), index.fragments[fragment].rows
        rows = self._counting.good_rows(first, first + size)
        if not len(rows):
            return Units(columns={}, counts=np.zeros(size, dtype=np.int32))
        source = read_pieces(index, pieces_of(fragment, rows - first))

        def work(part: slice) -> Units:
            columns = {name: column[part] for name, column in source.items()}
            if self._transforms:
                # Copied, because a transform may write into what it gets.
                columns = {name: column.copy() for name, column in columns.items()}
            return units_of(self._transforms, columns, rows[part])

        units = with_blame(work, RowsAtHand(index=index, root=self._root, rows=rows))
        if len(rows) == size:
            return units
        counts = np.zeros(size, dtype=np.int32)
        counts[rows - first] = units.counts
        return Units(columns=units.columns, counts=counts)

    def _check(self, fragment: int, counts: Counts, counted: int) -> None:
        """Refuses rows that give something else than when they were counted.

        Otherwise rows would be lost or come twice, and nobody would know.
        """
        if counts_digest(counts) == counted:
            return
        again = self._read(fragment).counts
        differing = np.flatnonzero(again != counts)
        first = int(self._stream.index.fragment_starts[fragment])
        at_hand = RowsAtHand(
            index=self._stream.index,
            root=self._root,
            rows=first + differing if len(differing) else np.arange(first, first + len(counts)),
        )
        of_stream = self._stream.transforms[: self._counting.transforms]
        uses = " and ".join(spec.use for spec in of_stream if spec.changes_rows)
        if len(differing):
            row = differing[0]
            what = f": the first of them gave {counts[row]}, and right after that {again[row]}"
        else:
            what = f": {int(counts.sum())} of {len(counts)} rows, which is not what was counted"
        raise DataError(
            f"transform {uses} gave other samples{at_hand.told(0, len(at_hand.rows))} than when"
            f" these were counted{what}",
            hint="what changes the number of rows has to depend on the row alone: not on chance,"
            " time, earlier rows or other machines",
        )
