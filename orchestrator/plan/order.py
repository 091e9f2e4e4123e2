"""The sample order: which row stands at which position of an epoch, as arithmetic.

Nothing here reads data. A position is a row's place in the epoch, a row its number in the index.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]

# Told apart, so that the order of fragments and the order inside windows never share a stream.
_FRAGMENT_STREAM, _WINDOW_STREAM = 1, 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Rows [start, stop) of one fragment."""

    fragment: int
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """What one reading task reads: pieces of fragments, then the order of the rows inside.

    `shuffle[i]` is the place, in the pieces laid end to end, of the window's i-th row; None keeps
    them as they are.
    """

    epoch: int
    number: int
    start: int
    pieces: tuple[Piece, ...]
    shuffle: Rows | None

    @property
    def rows(self) -> int:
        return sum(piece.stop - piece.start for piece in self.pieces)


class SampleOrder:
    """A pure function of (fragment sizes, shuffle settings, seed, epoch)."""

    def __init__(
        self,
        fragment_rows: Rows,
        *,
        window_rows: int,
        seed: int,
        shuffle_fragments: bool,
        shuffle_rows: bool,
    ) -> None:
        self._sizes = np.asarray(fragment_rows, dtype=np.int64)
        self._firsts = np.concatenate([[0], np.cumsum(self._sizes)])[:-1]
        self.rows = int(self._sizes.sum())
        self.window_rows = window_rows
        self._seed = seed
        self._shuffle_fragments = shuffle_fragments
        self._shuffle_rows = shuffle_rows
        self._epoch_layout = lru_cache(maxsize=2)(self._lay_out_epoch)
        self._window_rows_cached = lru_cache(maxsize=2)(self._rows_of_window)

    @property
    def windows(self) -> int:
        """Windows in an epoch; the last one may be shorter."""
        return -(-self.rows // self.window_rows)

    def window(self, epoch: int, number: int) -> Window:
        """What the task for this window reads, found in O(log fragments)."""
        start = number * self.window_rows
        stop = min(start + self.window_rows, self.rows)
        order, ends = self._epoch_layout(epoch)
        pieces = []
        at = int(np.searchsorted(ends, start, side="right"))
        while start < stop:
            fragment = int(order[at])
            begin = int(ends[at]) - int(self._sizes[fragment])
            until = min(stop, int(ends[at]))
            if until > start:  # an empty fragment contributes nothing
                pieces.append(Piece(fragment=fragment, start=start - begin, stop=until - begin))
            start, at = until, at + 1
        first = number * self.window_rows
        shuffle = None
        if self._shuffle_rows:
            generator = _generator(self._seed, epoch, _WINDOW_STREAM, number)
            shuffle = generator.permutation(stop - first)
        return Window(
            epoch=epoch, number=number, start=first, pieces=tuple(pieces), shuffle=shuffle
        )

    def row_numbers(self, window: Window) -> Rows:
        """The numbers of a window's rows in the order of the epoch, int64 [window.rows]."""
        spans = [
            np.arange(piece.start, piece.stop) + self._firsts[piece.fragment]
            for piece in window.pieces
        ]
        numbers = np.concatenate(spans) if spans else np.empty(0, dtype=np.int64)
        return numbers if window.shuffle is None else numbers[window.shuffle]

    def rows_between(self, epoch: int, start: int, stop: int) -> Rows:
        """The rows at positions [start, stop) of an epoch, clipped to its end."""
        stop = min(stop, self.rows)
        parts = [np.empty(0, dtype=np.int64)]
        while start < stop:
            number = start // self.window_rows
            first = number * self.window_rows
            until = min(stop, first + self.window_rows)
            parts.append(self._window_rows_cached(epoch, number)[start - first : until - first])
            start = until
        return np.concatenate(parts)

    def read_amplification(self, epoch: int = 0) -> float:
        """Rows read for each row used, since a fragment on a window's edge is read twice."""
        order, ends = self._epoch_layout(epoch)
        edges = np.arange(self.window_rows, self.rows, self.window_rows)
        cut = np.searchsorted(ends, edges, side="left")
        inside = ends[cut] != edges
        return 1.0 + float(self._sizes[order[cut[inside]]].sum()) / max(1, self.rows)

    def _lay_out_epoch(self, epoch: int) -> tuple[Rows, Rows]:
        count = len(self._sizes)
        if self._shuffle_fragments:
            order = _generator(self._seed, epoch, _FRAGMENT_STREAM, 0).permutation(count)
        else:
            order = np.arange(count)
        return order, np.cumsum(self._sizes[order])

    def _rows_of_window(self, epoch: int, number: int) -> Rows:
        return self.row_numbers(self.window(epoch, number))


def permutation_check() -> str:
    """A hash of a fixed shuffle, part of the order fingerprint.

    NumPy does not promise the same permutation from every future release; if one differs, resuming
    under it must be refused rather than silently continue in another order.
    """
    return hashlib.sha256(_generator(0, 0, 0, 0).permutation(1000).tobytes()).hexdigest()[:16]


def _generator(seed: int, epoch: int, stream: int, number: int) -> np.random.Generator:
    # In words of 32 bits: NumPy would string a longer seed's words together with those that follow.
    entropy = [seed & 0xFFFFFFFF, seed >> 32, epoch, stream, number]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
