"""The sample order: which row stands at which position of an epoch, as arithmetic.

Nothing here reads data. A position is a sample's place in the epoch. Fragments are measured in
units: a unit is a row of the index, or, where transforms change the number of rows, what they make
of it, numbered through the whole data set in the order of the index.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Counts = NDArray[np.int32]

# Told apart, so that the order of fragments and the order inside windows never share a stream.
_FRAGMENT_STREAM, _WINDOW_STREAM = 1, 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Units [start, stop) of one fragment."""

    fragment: int
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A stretch of one pass over a source, whose samples are shuffled among themselves.

    `source_pass` counts the passes over the source, `key` is what the shuffle is made from; None
    keeps the samples as they come.
    """

    source_pass: int
    pieces: tuple[Piece, ...]
    key: tuple[int, ...] | None

    @property
    def units(self) -> int:
        return sum(piece.stop - piece.start for piece in self.pieces)

    def shuffle(self, count: int) -> Rows | None:
        """The place, as the pieces give them, of the i-th of `count` samples; None: the i-th."""
        return None if self.key is None else _generator(*self.key).permutation(count)


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """What one reading task reads: `rows` samples from position `start` of an epoch on.

    `places[i]` is the place of the window's i-th sample among those of its segments, laid end to
    end as they are after their shuffles; None keeps them so.
    """

    epoch: int
    number: int
    start: int
    rows: int
    segments: tuple[Segment, ...]
    places: Rows | None = None

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The pieces of all segments."""
        return tuple(piece for segment in self.segments for piece in segment.pieces)

    def arrange(self, counts: Sequence[int]) -> Rows:
        """Where the window's i-th sample lies, as the pieces give them.

        Args:
            counts: how many samples each segment gives.
        """
        starts = np.concatenate([[0], np.cumsum(counts)])
        shuffles = [
            start + (np.arange(count) if (order := segment.shuffle(count)) is None else order)
            for segment, start, count in zip(self.segments, starts[:-1], counts, strict=True)
        ]
        order = np.concatenate([np.empty(0, dtype=np.int64), *shuffles])
        return order if self.places is None else order[self.places]


class SampleOrder:
    """A pure function of (fragment sizes, shuffle settings, seed, epoch).

    Args:
        fragment_units: units of each fragment, int64 [fragments].
        window_rows: samples in a window.
        row_units: units that make a sample; more than 1 where they are packed.
    """

    def __init__(
        self,
        fragment_units: Rows,
        *,
        window_rows: int,
        seed: int,
        shuffle_fragments: bool,
        shuffle_rows: bool,
        row_units: int = 1,
    ) -> None:
        self._sizes = np.asarray(fragment_units, dtype=np.int64)
        self._firsts = np.concatenate([[0], np.cumsum(self._sizes)])[:-1]
        self.units = int(self._sizes.sum())
        self.row_units = row_units
        self.window_rows = window_rows
        self._seed = seed
        self._shuffle_fragments = shuffle_fragments
        self._shuffle_rows = shuffle_rows
        self._epoch_layout = lru_cache(maxsize=2)(self._lay_out_epoch)

    @property
    def rows(self) -> int:
        """Samples in an epoch; the last one of packed ones may be shorter."""
        return -(-self.units // self.row_units)

    @property
    def windows(self) -> int:
        """Windows in an epoch; the last one may be shorter."""
        return -(-self.rows // self.window_rows)

    def window(self, epoch: int, number: int) -> Window:
        """What the task for this window reads, found in O(log fragments)."""
        start = number * self.window_rows
        rows = min(start + self.window_rows, self.rows) - start
        segment = self.segment(epoch, start, start + rows, window=number)
        return Window(epoch=epoch, number=number, start=start, rows=rows, segments=(segment,))

    def segment(self, epoch: int, start: int, stop: int, *, window: int) -> Segment:
        """Samples [start, stop) of an epoch, to be shuffled among themselves as a window asks."""
        return Segment(
            source_pass=epoch,
            pieces=self.pieces_between(epoch, start, stop),
            key=(self._seed, epoch, _WINDOW_STREAM, window) if self._shuffle_rows else None,
        )

    def pieces_between(self, epoch: int, start: int, stop: int) -> tuple[Piece, ...]:
        """The pieces that samples [start, stop) of an epoch are made of, before any shuffle."""
        at, until = start * self.row_units, min(stop * self.row_units, self.units)
        order, ends = self._epoch_layout(epoch)
        pieces = []
        place = int(np.searchsorted(ends, at, side="right"))
        while at < until:
            fragment = int(order[place])
            begin = int(ends[place]) - int(self._sizes[fragment])
            end = min(until, int(ends[place]))
            if end > at:  # an empty fragment contributes nothing
                pieces.append(Piece(fragment=fragment, start=at - begin, stop=end - begin))
            at, place = end, place + 1
        return tuple(pieces)

    def first_unit(self, piece: Piece) -> int:
        """The number of a piece's first unit in the whole data set."""
        return int(self._firsts[piece.fragment]) + piece.start

    def unit_numbers(self, pieces: Sequence[Piece]) -> Rows:
        """The units of the pieces, end to end, int64."""
        spans = [self.first_unit(piece) + np.arange(piece.stop - piece.start) for piece in pieces]
        return np.concatenate([np.empty(0, dtype=np.int64), *spans])

    def passes(self, window: Window, counts: Sequence[int]) -> Counts | None:
        """Which pass over its source each of a window's samples belongs to: None, its epoch."""
        return None

    def read_amplification(self, epoch: int = 0) -> float:
        """Rows read for each row used, since a fragment on a window's edge is read twice."""
        order, ends = self._epoch_layout(epoch)
        window = self.window_rows * self.row_units
        edges = np.arange(window, self.units, window)
        cut = np.searchsorted(ends, edges, side="left")
        inside = ends[cut] != edges
        return 1.0 + float(self._sizes[order[cut[inside]]].sum()) / max(1, self.units)

    def _lay_out_epoch(self, epoch: int) -> tuple[Rows, Rows]:
        count = len(self._sizes)
        if self._shuffle_fragments:
            order = _generator(self._seed, epoch, _FRAGMENT_STREAM, 0).permutation(count)
        else:
            order = np.arange(count)
        return order, np.cumsum(self._sizes[order])


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
