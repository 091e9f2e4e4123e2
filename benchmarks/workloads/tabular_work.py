"""The data of the tabular workload, and what is done to it: the same function for all loaders."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

NUMBERS = tuple(f"x{number:02}" for number in range(32))
CATEGORIES = tuple(f"c{number}" for number in range(4))
COLUMNS = (*NUMBERS, *CATEGORIES, "label")
# The column that proves which rows came.
KEY = "label"
_BUCKETS = 1 << 10
_MISSING = 0.01
_MEAN = np.linspace(-1, 1, len(NUMBERS), dtype=np.float32)
_SCALE = np.linspace(0.5, 2, len(NUMBERS), dtype=np.float32)
# Fibonacci hashing: Knuth, The Art of Computer Programming, volume 3, 6.4.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def preprocess(batch: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """Gaps filled, outliers clipped, all normalised; categories hashed; all as one [rows, 36]."""
    rows = len(batch[KEY])
    features = np.empty((rows, len(NUMBERS) + len(CATEGORIES)), dtype=np.float32)
    numbers = features[:, : len(NUMBERS)]
    for place, name in enumerate(NUMBERS):
        numbers[:, place] = batch[name]
    np.copyto(numbers, _MEAN, where=np.isnan(numbers))
    numbers -= _MEAN
    numbers /= _SCALE
    np.clip(numbers, -4, 4, out=numbers)
    for place, name in enumerate(CATEGORIES, start=len(NUMBERS)):
        hashed = batch[name].astype(np.uint64) * _GOLDEN >> np.uint64(54)
        features[:, place] = hashed.astype(np.float32) / _BUCKETS
    return {"x": features, KEY: batch[KEY]}


def write_data(folder: Path, *, rows: int, row_groups: int = 16, files: int = 4) -> Path:
    """Parquet files of rows with 32 numbers (one in a hundred missing), 4 categories, a label.

    Written once: a folder that is there is kept.
    """
    target = folder / f"tabular-{rows}"
    if target.exists():
        return target
    staging = folder / f"tabular-{rows}.part"
    staging.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for file, labels in enumerate(np.array_split(np.arange(rows), files)):
        columns: dict[str, pa.Array] = {}
        for name in NUMBERS:
            values = rng.normal(size=len(labels)).astype(np.float32)
            columns[name] = pa.array(values, mask=rng.random(len(labels)) < _MISSING)
        for name in CATEGORIES:
            columns[name] = pa.array(rng.integers(0, 50_000, len(labels), dtype=np.int32))
        columns["label"] = pa.array(labels)
        pq.write_table(
            pa.table(columns),
            staging / f"part-{file}.parquet",
            row_group_size=-(-rows // row_groups),
            use_dictionary=False,
        )
    staging.rename(target)
    return target
