"""Windows read: the samples of their pieces, and which of them stands where."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from orchestrator.data.codec import Columns
from orchestrator.data.fitted import FittedState
from orchestrator.data.fragment_units import FragmentUnits
from orchestrator.data.parquet_read import read_pieces
from orchestrator.data.results import concatenate
from orchestrator.data.row_changes import Units
from orchestrator.errors import DataError
from orchestrator.plan.counting import Counting
from orchestrator.plan.order import Piece, Segment, Window
from orchestrator.plan.origins import Counts, Origins, Rows, join_origins
from orchestrator.plan.packing import Packed, SpanRecords, pack, spans_between
from orchestrator.plan.stream import StreamPlan

# The column that tells apart, in a packed sample, the rows whose tokens stand side by side: 1 for
# the first, and so on; 0 where an epoch's last sample is filled up.
SEGMENTS = "segments"


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowRows:
    """The samples of a window in the order in which they were read.

    `arranged[i]` is the place among them of the window's i-th.
    """

    columns: Columns
    origins: Origins
    arranged: Rows


class WindowReader(Protocol):
    """Reads windows of a stream; constructed once in each worker."""

    def read(self, window: Window) -> WindowRows:
        """The samples of a window.

        Raises:
            DataError: a file cannot be read, or a transform raised.
            OSError: the storage failed, and went on failing.
        """


def window_reader(stream: StreamPlan, *, root: Path, fitted: Sequence[FittedState]) -> WindowReader:
    """The reader for a stream."""
    if stream.counting is None:
        return _RowReader(stream)
    units = FragmentUnits(stream, root=root, fitted=fitted)
    if stream.counting.packed:
        return _PackedReader(stream, stream.counting, units)
    return _PartReader(stream, stream.counting, units)


class _RowReader:
    """A row is a sample."""

    def __init__(self, stream: StreamPlan) -> None:
        self._index = stream.index
        self._order = stream.sample_order()

    def read(self, window: Window) -> WindowRows:
        counts = [segment.units for segment in window.segments]
        rows = self._order.unit_numbers(window.pieces)
        return WindowRows(
            columns=read_pieces(self._index, window.pieces),
            origins=Origins(rows=rows, passes=self._order.passes(window, counts)),
            arranged=window.arrange(counts),
        )


class _PartReader:
    """A row gives any number of samples."""

    def __init__(self, stream: StreamPlan, counting: Counting, units: FragmentUnits) -> None:
        self._counting = counting
        self._units = units
        self._order = stream.sample_order()
        self._starts = stream.index.fragment_starts

    def read(self, window: Window) -> WindowRows:
        found, origins = [], []
        of_fragments = self._units.of_pieces(window.pieces)
        for piece in window.pieces:
            units = of_fragments[piece.fragment]
            part = slice(piece.start, piece.stop)
            found.append({name: column[part] for name, column in units.columns.items()})
            accounts = self._counting.accounts(units.counts)
            of_piece = accounts.of_units(np.arange(piece.start, piece.stop))
            first = int(self._starts[piece.fragment])
            origins.append(Origins(rows=of_piece.rows + first, parts=of_piece.parts))
        counts = [segment.units for segment in window.segments]
        passes = self._order.passes(window, counts)
        return WindowRows(
            columns=concatenate(found, "that changes the number of rows"),
            origins=replace(join_origins(origins), passes=passes),
            arranged=window.arrange(counts),
        )


class _PackedReader:
    """Rows give tokens, of which samples of one length are made."""

    def __init__(self, stream: StreamPlan, counting: Counting, units: FragmentUnits) -> None:
        self._length = counting.length
        self._units = units
        self._order = stream.sample_order()
        self._starts = stream.index.fragment_starts

    def read(self, window: Window) -> WindowRows:
        units = self._units.of_pieces(window.pieces)
        made = [self._segment(segment, units) for segment in window.segments]
        parts = [origins for _, origins in made]
        passes = self._order.passes(window, [len(part) for part in parts])
        origins = replace(join_origins(parts), passes=passes)
        places = window.places
        return WindowRows(
            columns=concatenate([columns for columns, _ in made], "that packs"),
            origins=origins,
            arranged=np.arange(len(origins)) if places is None else places,
        )

    def _segment(
        self, segment: Segment, of_fragments: Mapping[int, Units]
    ) -> tuple[Columns, Origins]:
        tokens: list[Columns] = []
        spans: list[SpanRecords] = []
        for piece in segment.pieces:
            units = of_fragments[piece.fragment]
            part = slice(piece.start, piece.stop)
            tokens.append({name: column[part] for name, column in units.columns.items()})
            spans.append(self._spans(piece, units.counts))
        joined = np.concatenate(spans)
        packed = pack(joined, segment.shuffle(len(joined)), self._length)
        columns = self._samples(concatenate(tokens, "that packs"), packed)
        return columns, Origins(rows=packed.first_rows(), spans=packed.spans())

    def _spans(self, piece: Piece, counts: Counts) -> SpanRecords:
        first = int(self._starts[piece.fragment])
        return spans_between(counts, first, piece.start, piece.stop)

    def _samples(self, tokens: Columns, packed: Packed) -> Columns:
        """The columns of tokens as those of samples, [samples, length], filled up with zeros."""
        if SEGMENTS in tokens:
            raise DataError(f"the column name {SEGMENTS!r} is taken: packing gives it")
        flat: Columns = {name: column[packed.places] for name, column in tokens.items()}
        flat[SEGMENTS] = packed.segments()
        columns: Columns = {}
        for name, column in flat.items():
            full = np.zeros(packed.samples * self._length, dtype=column.dtype)
            full[: len(column)] = column
            columns[name] = full.reshape(packed.samples, self._length)
        return columns
