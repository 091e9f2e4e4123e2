"""Which source gives which position of a run: a fixed pattern that repeats, as arithmetic."""

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# Slots of a pattern. A share is kept to half a slot, and a source of less than a slot has no place.
SLOTS = 1 << 16

Weights = tuple[float, ...]


class Pattern:
    """The order in which sources take turns under one set of weights.

    Each source has as many of the slots as its weight is due, and they lie as evenly as they can:
    the j-th of n stands where (j + 1/2) / n of the pattern is over.
    """

    def __init__(self, weights: Weights) -> None:
        counts = share_out(weights)
        # Different quotients of numbers this small are further apart than a float can round.
        due = [(2.0 * np.arange(count) + 1.0) / (2.0 * max(1, count)) for count in counts]
        owners = np.repeat(np.arange(len(counts), dtype=np.uint16), counts)
        self._counts = np.array(counts, dtype=np.int64)
        self._owners = owners[np.argsort(np.concatenate(due), kind="stable")]
        self._places = [
            np.flatnonzero(self._owners == source).astype(np.int32) for source in range(len(counts))
        ]

    def given(self, positions: int) -> NDArray[np.int64]:
        """How many of the first positions each source gives, found in O(log), int64 [sources]."""
        rounds, rest = divmod(positions, SLOTS)
        begun = [np.searchsorted(places, rest) for places in self._places]
        return rounds * self._counts + np.array(begun, dtype=np.int64)

    def sources(self, start: int, stop: int) -> NDArray[np.uint16]:
        """The number of the source that gives each of positions [start, stop)."""
        return self._owners[np.arange(start, stop) % SLOTS]


class TakingTurns:
    """The patterns of a run one after another: a change of the weights begins another one.

    Args:
        phases: from which position on which weights hold; the first ones from 0.
    """

    def __init__(self, phases: Sequence[tuple[int, Weights]]) -> None:
        self._starts = [start for start, _ in phases]
        self._weights = [weights for _, weights in phases]
        given = [np.zeros(len(phases[0][1]), dtype=np.int64)]
        for number in range(len(phases) - 1):
            length = self._starts[number + 1] - self._starts[number]
            given.append(given[-1] + self._pattern(number).given(length))
        self._given = given

    def given(self, position: int) -> NDArray[np.int64]:
        """How many samples each source gives before a position of the run, int64 [sources]."""
        number = self._phase_at(position)
        return self._given[number] + self._pattern(number).given(position - self._starts[number])

    def sources(self, start: int, stop: int) -> NDArray[np.uint16]:
        """The number of the source that gives each of positions [start, stop) of the run."""
        parts = [np.empty(0, dtype=np.uint16)]
        while start < stop:
            number = self._phase_at(start)
            ends = [*self._starts[number + 1 :][:1], stop]
            first, until = self._starts[number], min(stop, ends[0])
            parts.append(self._pattern(number).sources(start - first, until - first))
            start = until
        return np.concatenate(parts)

    def _phase_at(self, position: int) -> int:
        return int(np.searchsorted(self._starts, position, side="right")) - 1

    def _pattern(self, number: int) -> Pattern:
        return _pattern_of(self._weights[number])


def share_out(weights: Weights) -> list[int]:
    """Slots of each source: their weight's share, what is left over by largest remainder.

    In fractions, so that no machine rounds otherwise than another.
    """
    whole = sum(map(Fraction, weights), Fraction(0))
    due = [Fraction(weight) * SLOTS / whole for weight in weights]
    counts = [int(share) for share in due]
    by_remainder = sorted(range(len(due)), key=lambda source: counts[source] - due[source])
    for source in by_remainder[: SLOTS - sum(counts)]:
        counts[source] += 1
    return counts


# A pattern takes some milliseconds to make, and an order is made anew wherever it is needed.
@lru_cache(maxsize=64)
def _pattern_of(weights: Weights) -> Pattern:
    return Pattern(weights)
