"""Random numbers that belong to the row, wherever, whenever and with whom it is processed."""

import hashlib

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class RowRandom:
    """Vectorised draws for a batch; row i draws from a stream of its own.

    A stream is keyed by (seed, epoch, row, transform), so that a row is augmented alike in any
    batch, on any worker and after any restart, and anew in each epoch. Each call continues the
    streams. Uses SplitMix64 (Steele, Lea and Flood, 2014) as a counter-based generator.

    Args:
        seed: the job's seed.
        epoch: the epoch the rows are processed for.
        rows: row numbers, or what else samples are told apart by, int64 or uint64 [rows].
        transform: tells the streams of several transforms of one job apart.
    """

    def __init__(
        self, seed: int, epoch: int, rows: NDArray[np.int64] | Words, *, transform: str = ""
    ) -> None:
        digest = hashlib.blake2b(f"{seed}/{epoch}/{transform}".encode(), digest_size=8).digest()
        key = np.uint64(int.from_bytes(digest, "little"))
        self._keys = _mix(np.asarray(rows).astype(np.uint64) + key)
        self._drawn = 0

    def __len__(self) -> int:
        return len(self._keys)

    def random(self, size: tuple[int, ...] | int = ()) -> Floats:
        """Uniform in [0, 1), float64 [rows, *size]."""
        shape = (size,) if isinstance(size, int) else tuple(size)
        words = self._words(int(np.prod(shape, dtype=np.int64)))
        # The upper 53 bits: as many as a float64 holds.
        unit = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return unit.reshape(len(self), *shape)

    def uniform(
        self, low: float = 0.0, high: float = 1.0, size: tuple[int, ...] | int = ()
    ) -> Floats:
        """Uniform in [low, high), float64 [rows, *size]."""
        return np.asarray(low + (high - low) * self.random(size), dtype=np.float64)

    def integers(self, low: int, high: int, size: tuple[int, ...] | int = ()) -> NDArray[np.int64]:
        """Uniform whole numbers in [low, high), int64 [rows, *size]."""
        if high <= low:
            raise ValueError(f"integers: high must be above low, got low={low}, high={high}")
        return low + np.floor(self.random(size) * (high - low)).astype(np.int64)

    def normal(
        self, loc: float = 0.0, scale: float = 1.0, size: tuple[int, ...] | int = ()
    ) -> Floats:
        """Normally distributed, float64 [rows, *size] (Box and Muller, 1958)."""
        radius = np.sqrt(-2.0 * np.log1p(-self.random(size)))
        return loc + scale * radius * np.cos(2.0 * np.pi * self.random(size))

    def _words(self, count: int) -> Words:
        counters = np.arange(self._drawn + 1, self._drawn + count + 1, dtype=np.uint64)
        self._drawn += count
        return _mix(self._keys[:, None] + counters[None, :] * _GOLDEN)


def _mix(words: Words) -> Words:
    """SplitMix64's finaliser; unsigned arithmetic wraps around by intention."""
    with np.errstate(over="ignore"):
        words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return words ^ (words >> np.uint64(31))
