"""How well each shuffle mixes rows that come sorted: python -m benchmarks.shuffle_quality.

Row i of the data has the value i, as in a table that was sorted by date, and the order of one epoch
is looked at as it would be trained. Nothing is read: the order is arithmetic.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.plan.accounts import EpochOrigins
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
    Shuffle(name="window of 8,192", kind="window", rows=8_192),
    Shuffle(name="window of 32,768", kind="window", rows=32_768),
    Shuffle(name="window of 65,536", kind="window", rows=65_536),
    Shuffle(name="window of 131,072", kind="window", rows=131_072),
    Shuffle(name="window of 262,144", kind="window", rows=262_144),
    Shuffle(name="window of all", kind="window", rows=ROWS),
)
COLUMNS = (
    "shuffle",
    "way of a row: mean",
    "median",
    "fragments in a batch",
    "evenness of a batch",
    "spread of batches",
    "rows read for one",
)


@dataclass(frozen=True, kw_only=True)
class Quality:
    """An epoch's rows in their order, cut into batches, and how many are read for each of them."""

    order: NDArray[np.int64]
    batch: int
    fragment: int
    read_amplification: float

    @cached_property
    def displacement(self) -> NDArray[np.float64]:
        """How far each row is from its place in the files, as a share of the epoch."""
        rows = len(self.order)
        return np.asarray(np.abs(self.order - np.arange(rows)) / rows, dtype=np.float64)

    @cached_property
    def batches(self) -> NDArray[np.int64]:
        """The rows of all whole batches, int64 [batches, batch]."""
        whole = len(self.order) // self.batch
        return self.order[: whole * self.batch].reshape(whole, self.batch)

    @cached_property
    def fragments(self) -> float:
        """Of how many fragments a batch has rows, on average."""
        return float(np.mean([len(np.unique(rows // self.fragment)) for rows in self.batches]))

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


def main() -> None:
    """Prints the table of docs/shuffling.md."""
    sys.stdout.write(table())


def table() -> str:
    """All shuffles beside a permutation of all rows that another generator made, as Markdown."""
    rows = [_line(COLUMNS), _line(["---", *["---:"] * (len(COLUMNS) - 1)])]
    rows += [_line(_cells(f"`{shuffle.name}`", measure(shuffle))) for shuffle in SHUFFLES]
    drawn = Quality(
        order=np.random.Generator(np.random.MT19937(1)).permutation(ROWS),
        batch=BATCH,
        fragment=FRAGMENT,
        read_amplification=float("nan"),
    )
    return "".join([*rows, _line(_cells("drawn at random", drawn))])


def measure(shuffle: Shuffle, *, rows: int = ROWS, seed: int = 0) -> Quality:
    """The first epoch under a shuffle, of rows in fragments of equal size but the last."""
    sizes = np.full(-(-rows // FRAGMENT), FRAGMENT, dtype=np.int64)
    sizes[-1] = rows - sizes[:-1].sum()
    order = SampleOrder(
        sizes,
        # As the plan does it: whole batches.
        window_rows=-(-min(shuffle.rows, rows) // BATCH) * BATCH,
        seed=seed,
        shuffle_fragments=shuffle.kind != "none",
        shuffle_rows=shuffle.kind == "window",
    )
    return Quality(
        order=EpochOrigins(order).between(0, 0, rows).rows,
        batch=BATCH,
        fragment=FRAGMENT,
        read_amplification=order.read_amplification(),
    )


def _cells(name: str, quality: Quality) -> list[str]:
    read = quality.read_amplification
    return [
        name,
        f"{quality.displacement.mean():.3f}",
        f"{np.median(quality.displacement):.3f}",
        f"{quality.fragments:.1f}",
        f"{quality.entropy:.2f}",
        f"{quality.spread:.1f}",
        "" if np.isnan(read) else f"{read:.2f}",
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    main()
