"""Write scikit-learn's handwritten digits as a Parquet data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from pipelines.prepared import run_command, write_once, write_split

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NUM_PIXELS = 64
NUM_VALIDATION_ROWS = 360
# Any constant serves, as long as it stays: the split must be the same on every machine.
SPLIT_SEED = 1797
# Several files of several row groups: small data, but the shape of a large data set.
FILES_PER_SPLIT = {"train": 4, "validation": 2}


def prepare(out: Path) -> bool:
    """Make sure that `out` holds `train/` and `validation/`; returns whether it had to be written.

    Raises:
        FileExistsError: `out` is there and is no prepared data set.
    """
    return write_once(out, write, parts=list(FILES_PER_SPLIT))


def write(out: Path) -> None:
    """Write both splits."""
    for split, table in read_splits().items():
        write_split(table, out / split, num_files=FILES_PER_SPLIT[split])


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


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    run_command("digits", prepare, argv, text=__doc__)


if __name__ == "__main__":
    main()
