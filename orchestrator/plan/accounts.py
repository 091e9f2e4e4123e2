"""What each row of the index gives, and so which samples stand where in an epoch."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from orchestrator.plan.mixture import Order
from orchestrator.plan.order import Piece, Window
from orchestrator.plan.origins import Counts, Origins, Rows, join_origins
from orchestrator.plan.packing import pack, spans_between


@dataclass(frozen=True, kw_only=True)
class Accounts:
    """How many units each row of the index gives, int32 [rows]; 0 where it is filtered out.

    `packed`: units are tokens, and samples are made of `row_units` of them. `parts`: a row may be
    made into several samples.
    """

    counts: Counts
    packed: bool = False
    parts: bool = False

    @cached_property
    def ends(self) -> Rows:
        """The units of each row and those before it, int64 [rows]."""
        return np.cumsum(self.counts, dtype=np.int64)

    def of_units(self, units: Rows) -> Origins:
        """The origins of samples of one unit each."""
        rows = np.searchsorted(self.ends, units, side="right")
        if not self.parts:
            return Origins(rows=rows)
        parts = units - (self.ends[rows] - self.counts[rows])
        return Origins(rows=rows, parts=parts.astype(np.int32))


class EpochOrigins:
    """The origins of samples by their positions, from an order and, where rows were counted, these.

    This is what the ledger is held against; readers come to the same by reading.
    """

    def __init__(self, order: Order, accounts: Accounts | None = None) -> None:
        self._order = order
        self._accounts = accounts
        self._window = lru_cache(maxsize=2)(self._of_window)

    def between(self, epoch: int, start: int, stop: int) -> Origins:
        """The origins of the samples at positions [start, stop) of an epoch, clipped to its end."""
        size, stop = self._order.window_rows, min(stop, self._order.rows)
        # An empty stretch, too, has the columns of the stream.
        low = min(start // size, self._order.windows - 1)
        parts = []
        for number in range(low, max(low + 1, -(-stop // size))):
            first = number * size
            inside = slice(max(start - first, 0), max(min(stop - first, size), 0))
            parts.append(self._window(epoch, number).take(inside))
        return join_origins(parts)

    def _of_window(self, epoch: int, number: int) -> Origins:
        window = self._order.window(epoch, number)
        if self._accounts is not None and self._accounts.packed:
            return self._packed(window, self._accounts)
        counts = [segment.units for segment in window.segments]
        units = self._order.unit_numbers(window.pieces)
        origins = Origins(rows=units) if self._accounts is None else self._accounts.of_units(units)
        passes = self._order.passes(window, counts)
        return replace(origins, passes=passes).take(window.arrange(counts))

    def _packed(self, window: Window, accounts: Accounts) -> Origins:
        parts = []
        for segment in window.segments:
            spans = np.concatenate([self._spans(piece, accounts) for piece in segment.pieces])
            packed = pack(spans, segment.shuffle(len(spans)), self._order.row_units)
            parts.append(Origins(rows=packed.first_rows(), spans=packed.spans()))
        passes = self._order.passes(window, [len(part) for part in parts])
        joined = replace(join_origins(parts), passes=passes)
        return joined if window.places is None else joined.take(window.places)

    def _spans(self, piece: Piece, accounts: Accounts) -> NDArray[np.void]:
        first = self._order.first_unit(piece)
        last = first + piece.stop - piece.start - 1
        low, high = np.searchsorted(accounts.ends, [first, last], side="right").tolist()
        before = int(accounts.ends[low] - accounts.counts[low])
        return spans_between(
            accounts.counts[low : high + 1], low, first - before, last + 1 - before
        )


def counts_digest(counts: Counts) -> int:
    """A hash of the counts of a fragment's rows, 63 bits."""
    data = np.ascontiguousarray(counts, dtype="<i4").tobytes()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") >> 1


def fragment_sums(counts: Counts, fragment_rows: Rows) -> tuple[Rows, Rows]:
    """The units of each fragment, and a digest of its rows' counts, both int64 [fragments]."""
    edges = np.concatenate([[0], np.cumsum(fragment_rows)])
    parts = [counts[start:stop] for start, stop in pairwise(edges)]
    units = np.array([int(part.sum(dtype=np.int64)) for part in parts], dtype=np.int64)
    digests = np.array([counts_digest(part) for part in parts], dtype=np.int64)
    return units, digests
