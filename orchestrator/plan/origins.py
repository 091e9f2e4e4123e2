"""Where samples come from: what identifies each of them, in a batch and in the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Counts = NDArray[np.int32]
Spans = NDArray[np.object_]

# A span of a packed sample, as it travels: which tokens [start, stop) of which row.
SPAN = np.dtype([("row", "<i8"), ("start", "<i4"), ("stop", "<i4")])

# Odd, so that different parts and passes of a row never share a stream of random numbers.
_PART_STRIDE = np.uint64(0xD1342543DE82EF95)
_PASS_STRIDE = np.uint64(0xAF251AF3B0F025B5)


@dataclass(frozen=True, kw_only=True, slots=True)
class Origins:
    """The origins of n samples, in their order.

    `rows` are numbers in the index, int64 [n]; of a packed sample its first row. `parts` tell apart
    the samples that a row was made into, int32 [n]; `passes` say which pass over its source a row
    belongs to, int32 [n], where several sources are mixed. `spans` has for each packed sample the
    bytes of its `SPAN` records. What is None does not apply to the stream.
    """

    rows: Rows
    parts: Counts | None = None
    passes: Counts | None = None
    spans: Spans | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, which: Rows | slice) -> "Origins":
        """Those of some of the samples: a view for a slice."""
        return Origins(
            rows=self.rows[which],
            parts=None if self.parts is None else self.parts[which],
            passes=None if self.passes is None else self.passes[which],
            spans=None if self.spans is None else self.spans[which],
        )

    def draw_keys(self) -> NDArray[np.uint64]:
        """What random numbers of a sample are keyed by within an epoch, uint64 [n]."""
        keys = self.rows.astype(np.uint64)
        with np.errstate(over="ignore"):  # unsigned arithmetic wraps around by intention
            if self.parts is not None or self.spans is not None:
                keys = keys + self.within_rows().astype(np.uint64) * _PART_STRIDE
            if self.passes is not None:
                keys = keys + self.passes.astype(np.uint64) * _PASS_STRIDE
        return keys

    def within_rows(self) -> Rows:
        """What tells samples of the same row apart, in their order, int64 [n]."""
        if self.parts is not None:
            return self.parts.astype(np.int64)
        if self.spans is not None:
            starts = [np.frombuffer(cell, SPAN, count=1)["start"][0] for cell in self.spans]
            return np.array(starts, dtype=np.int64)
        return np.zeros(len(self), dtype=np.int64)

    def draw_epoch(self, epoch: int) -> int:
        """The epoch that their random numbers are those of.

        Where sources are mixed it says nothing of how often a row was seen; their passes do.
        """
        return epoch if self.passes is None else 0

    def evidence(self) -> bytes:
        """The bytes that a digest of these samples, one after another, is made of."""
        pieces = [np.ascontiguousarray(self.rows, dtype="<i8").tobytes()]
        if self.parts is not None:
            pieces.append(np.ascontiguousarray(self.parts, dtype="<i4").tobytes())
        if self.spans is not None:
            pieces += self.spans.tolist()
        return b"".join(pieces)

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """The arrays that apply, by name."""
        named = {
            "rows": self.rows,
            "parts": self.parts,
            "passes": self.passes,
            "spans": self.spans,
        }
        return {name: values for name, values in named.items() if values is not None}


def join_origins(pieces: Sequence[Origins]) -> Origins:
    """The origins of several runs of samples, end to end; at least one."""
    columns = [piece.columns() for piece in pieces]
    joined = {name: np.concatenate([piece[name] for piece in columns]) for name in columns[0]}
    return Origins(**joined)
