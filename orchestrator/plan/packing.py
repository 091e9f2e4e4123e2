"""Packing as arithmetic: spans of rows laid end to end and cut into samples of equal length.

A row gives so many tokens; a span is a stretch of them. Nothing here sees a token.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.plan.origins import SPAN, Counts, Rows, Spans

SpanRecords = NDArray[np.void]


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """Tokens put in order and cut into samples.

    `places[i]` is the place, before the spans were put in order, of the i-th token. `pieces` are
    the spans as the cuts leave them, `sample` says which sample each belongs to.
    """

    places: Rows
    pieces: SpanRecords
    sample: Rows
    samples: int

    def spans(self) -> Spans:
        """The bytes of the `SPAN` records of each sample, object [samples]."""
        edges = np.searchsorted(self.sample, np.arange(self.samples + 1))
        cells = np.empty(self.samples, dtype=object)
        for number in range(self.samples):
            cells[number] = self.pieces[edges[number] : edges[number + 1]].tobytes()
        return cells

    def first_rows(self) -> Rows:
        """The row that each sample begins with, int64 [samples]."""
        firsts = np.searchsorted(self.sample, np.arange(self.samples))
        return self.pieces["row"][firsts].astype(np.int64)

    def segments(self) -> NDArray[np.int32]:
        """The number of the span in its sample that each token belongs to, from 1."""
        inside = np.arange(len(self.sample)) - np.searchsorted(self.sample, self.sample)
        lengths = self.pieces["stop"] - self.pieces["start"]
        return np.repeat(inside + 1, lengths).astype(np.int32)


def spans_between(counts: Counts, first_row: int, start: int, stop: int) -> SpanRecords:
    """The spans that tokens [start, stop) of consecutive rows are made of.

    Args:
        counts: tokens of each row, int [rows]; the first of them is row `first_row`.
    """
    ends = np.cumsum(counts, dtype=np.int64)
    begins = ends - counts
    rows = np.flatnonzero((ends > start) & (begins < stop) & (counts > 0))
    spans = np.empty(len(rows), dtype=SPAN)
    spans["row"] = first_row + rows
    spans["start"] = np.maximum(start - begins[rows], 0)
    spans["stop"] = np.minimum(stop, ends[rows]) - begins[rows]
    return spans


def pack(spans: SpanRecords, shuffle: Rows | None, length: int) -> Packed:
    """Spans in the order of the shuffle, cut into samples of `length` tokens; the last is shorter.

    Args:
        shuffle: the place of the i-th span among those given; None keeps them as they are.
    """
    order = np.arange(len(spans)) if shuffle is None else shuffle
    lengths = (spans["stop"] - spans["start"]).astype(np.int64)
    offsets = np.cumsum(lengths) - lengths
    ordered, ends = spans[order], np.cumsum(lengths[order])
    begins = ends - lengths[order]
    total = int(ends[-1]) if len(ends) else 0
    places = np.repeat(offsets[order] - begins, lengths[order]) + np.arange(total)
    stops = np.union1d(ends, np.arange(length, total, length))
    starts = np.concatenate([[0], stops])[: len(stops)]
    span = np.searchsorted(ends, starts, side="right")
    pieces = ordered[span]
    pieces["stop"] = pieces["start"] + (stops - begins[span])
    pieces["start"] += (starts - begins[span]).astype(np.int32)
    return Packed(
        places=places, pieces=pieces, sample=starts // length, samples=-(-total // length)
    )
