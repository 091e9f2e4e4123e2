"""Write scikit-learn's handwritten digits as a Parquet data set."""

from __future__ import annotations

import argparse
import itertools
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

NUM_PIXELS = 64
NUM_VALIDATION_ROWS = 360
# Any constant serves, as long as it stays: the split must be the same on every machine.
SPLIT_SEED = 1797
# Several files of several row groups: small data, but the shape of a large data set.
FILES_PER_SPLIT = {"train": 4, "validation": 2}
ROW_GROUPS_PER_FILE = 4


def prepare(out: Path) -> bool:
    """Make sure that `out` holds `train/` and `validation/`; returns whether it had to be written.

    The data set is written beside `out` and renamed, so `out` is complete or absent.

    Raises:
        FileExistsError: `out` is there and is no prepared data set.
    """
    if out.exists():
        if all((out / split).is_dir() for split in FILES_PER_SPLIT):
            return False
        raise FileExistsError(f"{out} exists and is no digits data set; move it away or use --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        # A folder inside the private one: renamed, it has the permissions of any other folder.
        staging = Path(scratch) / out.name
        for split, table in read_splits().items():
            write_split(table, staging / split, num_files=FILES_PER_SPLIT[split])
        staging.rename(out)
    return True


def read_splits() -> dict[str, pa.Table]:
    """All images, each in exactly one split, with the same share of each digit in both."""
    digits = load_digits()
    ids = np.arange(len(digits.target), dtype=np.int64)
    train, validation = train_test_split(
        ids, test_size=NUM_VALIDATION_ROWS, random_state=SPLIT_SEED, stratify=digits.target
    )
    return {
        split: make_table(rows, images=digits.data[rows], labels=digits.target[rows])
        for split, rows in (("train", train), ("validation", validation))
    }


def make_table(ids: np.ndarray, *, images: np.ndarray, labels: np.ndarray) -> pa.Table:
    """Columns: id int64, image as a list of exactly 64 uint8 (0 white to 16 black), label int64."""
    pixels = pa.array(images.astype(np.uint8).reshape(-1))
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "image": pa.FixedSizeListArray.from_arrays(pixels, NUM_PIXELS),
            "label": pa.array(labels, pa.int64()),
        }
    )


def write_split(table: pa.Table, folder: Path, *, num_files: int) -> None:
    """Spread the rows over `num_files` files as evenly as they go."""
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
    parser = argparse.ArgumentParser(prog="python -m pipelines.digits.prepare", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/digits"), help="folder to write")
    out: Path = parser.parse_args(argv).out
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if prepare(out):
        logger.info("digits: written to %s", out)
    else:
        logger.info("digits: already in %s", out)


if __name__ == "__main__":
    main()
