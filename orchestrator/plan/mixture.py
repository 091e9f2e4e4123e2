"""The order of several sources that are mixed by weight, as arithmetic.

Positions are counted through the whole run. The pattern says which source gives each of them, so
how many samples a source gave before any position is known without looking at those before. The
k-th sample of a source is sample k mod n of its pass k div n, in that source's own order.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from orchestrator.errors import PlanError
from orchestrator.plan.order import Counts, Piece, Rows, SampleOrder, Segment, Window
from orchestrator.plan.pattern import TakingTurns
from orchestrator.plan.sources import Mixture

# Windows that the read amplification is made from, where an epoch has more.
_LOOKED_AT = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceProgress:
    """How far a run is with a source: `passes` over it are done, and `rest` samples of the next."""

    name: str
    passes: int
    rest: int
    pass_samples: int

    @property
    def samples(self) -> int:
        """All samples that the source has given."""
        return self.passes * self.pass_samples + self.rest


class MixedOrder:
    """A pure function of (fragment sizes, mixture, shuffle settings, seed, epoch).

    An epoch has as many samples as one pass over each source together. It need not be one: a source
    with a small weight goes on with its pass in the next epoch, one with a large weight begins
    another in the same.

    Args:
        fragment_units: units of each fragment of the index, int64 [fragments].
        window_rows: samples in a window.
        row_units: units that make a sample; more than 1 where they are packed. The last sample of
            a pass may be shorter.

    Raises:
        PlanError: a source has no units.
    """

    def __init__(
        self,
        fragment_units: Rows,
        *,
        mixture: Mixture,
        window_rows: int,
        seed: int,
        shuffle_fragments: bool,
        shuffle_rows: bool,
        row_units: int = 1,
    ) -> None:
        def order(units: Rows, seed: int) -> SampleOrder:
            return SampleOrder(
                units,
                window_rows=window_rows,
                seed=seed,
                shuffle_fragments=shuffle_fragments,
                shuffle_rows=shuffle_rows,
                row_units=row_units,
            )

        self._sizes = np.asarray(fragment_units, dtype=np.int64)
        self._numbering = order(self._sizes, seed)
        self._mixture = mixture
        self._orders = [
            order(self._sizes[source.start : source.stop], _seed_of(source.name, seed))
            for source in mixture.sources
        ]
        _refuse_empty(mixture, self._orders)
        self._turns = TakingTurns([(phase.start, phase.weights) for phase in mixture.phases])
        self.units = self._numbering.units
        self.rows = sum(source.rows for source in self._orders)
        self.row_units = row_units
        self.window_rows = window_rows

    @property
    def windows(self) -> int:
        """Windows in an epoch; the last one may be shorter."""
        return -(-self.rows // self.window_rows)

    def window(self, epoch: int, number: int) -> Window:
        """What the task for this window reads, found without a look at the samples before it."""
        first, rows = self._span(epoch, number)
        owners = self._turns.sources(first, first + rows)
        # The segments stand source after source: the i-th sample of a source within the window is
        # the i-th that a stable sort by source gives it.
        places = np.empty(rows, dtype=np.int64)
        places[np.argsort(owners, kind="stable")] = np.arange(rows)
        return Window(
            epoch=epoch,
            number=number,
            start=number * self.window_rows,
            rows=rows,
            segments=tuple(self._segments(epoch, number)),
            places=places,
        )

    def first_unit(self, piece: Piece) -> int:
        """The number of a piece's first unit in the whole data set."""
        return self._numbering.first_unit(piece)

    def unit_numbers(self, pieces: Sequence[Piece]) -> Rows:
        """The units of the pieces, end to end, int64."""
        return self._numbering.unit_numbers(pieces)

    def passes(self, window: Window, counts: Sequence[int]) -> Counts | None:
        """Which pass over its source each of a window's samples belongs to, as its pieces are.

        Args:
            counts: how many samples each segment gives.
        """
        passes = np.array([segment.source_pass for segment in window.segments], dtype=np.int32)
        return np.repeat(passes, counts)

    def progress(self, position: int) -> tuple[SourceProgress, ...]:
        """How far each source is when so many samples of the whole run are used."""
        given = self._turns.given(position).tolist()
        return tuple(
            SourceProgress(
                name=source.name,
                passes=samples // order.rows,
                rest=samples % order.rows,
                pass_samples=order.rows,
            )
            for source, order, samples in zip(
                self._mixture.sources, self._orders, given, strict=True
            )
        )

    def read_amplification(self, epoch: int = 0) -> float:
        """Rows read for each row used; below 1 where a window has the same rows more than once.

        From some of the windows, where an epoch has many.
        """
        count = min(self.windows, _LOOKED_AT)
        read = used = 0
        for number in np.linspace(0, self.windows - 1, count).astype(np.int64).tolist():
            pieces = [
                piece for segment in self._segments(epoch, number) for piece in segment.pieces
            ]
            used += sum(piece.stop - piece.start for piece in pieces)
            read += int(self._sizes[sorted({piece.fragment for piece in pieces})].sum())
        return read / max(1, used)

    def _span(self, epoch: int, number: int) -> tuple[int, int]:
        """The position in the run at which a window begins, and how many samples it has."""
        start = number * self.window_rows
        return epoch * self.rows + start, min(start + self.window_rows, self.rows) - start

    def _segments(self, epoch: int, number: int) -> Iterator[Segment]:
        """A stretch of each pass that a window has a part in, source after source."""
        first, rows = self._span(epoch, number)
        starts = self._turns.given(first).tolist()
        stops = self._turns.given(first + rows).tolist()
        # No two windows of the run may share it, since a pass may go through several epochs.
        window = epoch * self.windows + number
        for source, order, start, stop in zip(
            self._mixture.sources, self._orders, starts, stops, strict=True
        ):
            while start < stop:
                source_pass, inside = divmod(start, order.rows)
                until = min(order.rows, inside + stop - start)
                segment = order.segment(source_pass, inside, until, window=window)
                yield _shifted(segment, source.start)
                start += until - inside


# What says where samples stand; both kinds are asked in the same way.
Order = SampleOrder | MixedOrder


def _shifted(segment: Segment, fragments: int) -> Segment:
    """A segment of a source with its fragments numbered as in the whole index."""
    pieces = tuple(
        Piece(fragment=piece.fragment + fragments, start=piece.start, stop=piece.stop)
        for piece in segment.pieces
    )
    return replace(segment, pieces=pieces)


def _seed_of(name: str, seed: int) -> int:
    """A seed for each source, so that sources of one shape are not shuffled alike."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest(), "big")


def _refuse_empty(mixture: Mixture, orders: Sequence[SampleOrder]) -> None:
    for source, order in zip(mixture.sources, orders, strict=True):
        if not order.rows:
            raise PlanError(
                f"dataset.train.sources.{source.name}: none of its rows is left to train on"
            )
