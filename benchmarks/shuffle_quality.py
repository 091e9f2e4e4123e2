"""How well each shuffle mixes rows that come sorted: python -m benchmarks.shuffle_quality.

Row i of the data has the value i, as in a table that was sorted by date, and the order of one epoch
is looked at as it would be trained. Nothing is read: the order is arithmetic.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.plan.order import SampleOrder

ROWS, FRAGMENT, BATCH = 1_000_000, 8_192, 1_024
# What decides how mixed a batch is: equal parts of the sorted rows.
PARTS = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Shuffle:
    """A shuffle by its name in a spec; `rows` are those of a window."""

    name: str
    kind: Literal["none", "fragments", "window"]
    rows: int = 65_536


SHUFFLES = (
    Shuffle(name="none", kind="none"),
    Shuffle(name="fragments", kind="fragments"),
    Shuffle(name="window, rows: 8192", kind="window", rows=8_192),
    Shuffle(name="window, rows: 32768", kind="window", rows=32_768),
    Shuffle(name="window, rows: 65536", kind="window", rows=65_536),
    Shuffle(name="window, rows: 131072", kind="window", rows=131_072),
    Shuffle(name="window, rows: 262144", kind="window", rows=262_144),
    Shuffle(name="window, rows: all", kind="window", rows=ROWS),
)


@dataclass(frozen=True, kw_only=True)
class Quality:
    """An epoch's rows in their order, whole batches of them, and how much is read for it."""

    order: NDArray[np.int64]
    batch: int
    read_amplification: float
    window_rows: int

    @cached_property
    def displacement(self) -> NDArray[np.float64]:
        """How far each row is from its place in the files, as a share of the epoch."""
        rows = len(self.order)
        return np.abs(self.order - np.arange(rows)) / rows

    @cached_property
    def batches(self) -> NDArray[np.int64]:
        """The rows of all whole batches, int64 [batches, batch]."""
        whole = len(self.order) // self.batch
        return self.order[: whole * self.batch].reshape(whole, self.batch)

    def fragments(self, size: int) -> float:
        """Of how many fragments a batch has rows, on average."""
        return float(np.mean([len(np.unique(rows // size)) for rows in self.batches]))

    @cached_property
    def entropy(self) -> float:
        """How evenly the rows of a batch come from PARTS parts of the data, on average.

        0 where all of them come from one part, 1 where each part gives as many.
        """
        parts = self.batches * PARTS // len(self.order)
        counts = [np.bincount(part, minlength=PARTS) for part in parts]
        shares = np.array(counts) / self.batch
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(shares > 0, shares * np.log(shares), 0.0)
        return float(-terms.sum(axis=1).mean() / np.log(PARTS))

    @cached_property
    def spread(self) -> float:
        """Standard deviation of the batches' mean values, over that of batches drawn at random."""
        rows = len(self.order)
        # Drawn without putting back from the values 0..rows-1.
        variance = (rows**2 - 1) / 12 / self.batch * (rows - self.batch) / (rows - 1)
        return float(self.batches.mean(axis=1).std() / np.sqrt(variance))


def measure(
    shuffle: Shuffle, *, rows: int = ROWS, fragment: int = FRAGMENT, batch: int = BATCH, seed: int = 0
) -> Quality:
    """The first epoch under a shuffle, of a data set in fragments of equal size but the last."""
    sizes = np.full(-(-rows // fragment), fragment, dtype=np.int64)
    sizes[-1] = rows - sizes[:-1].sum()
    window = min(shuffle.rows, rows)
    order = SampleOrder(
        sizes,
        # As the plan does it: whole batches.
        window_rows=-(-window // batch) * batch,
        seed=seed,
        shuffle_fragments=shuffle.kind != "none",
        shuffle_rows=shuffle.kind == "window",
    )
    return Quality(
        order=order.rows_between(0, 0, rows),
        batch=batch,
        read_amplification=order.read_amplification(),
        window_rows=min(order.window_rows, rows),
    )
