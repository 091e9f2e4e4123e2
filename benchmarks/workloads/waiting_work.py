"""Work that is a wait, so that cores do not matter: each row says how long its own takes."""

import time
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

# The column that proves which rows came, and the one with the seconds of a row's work.
KEY, SECONDS = "id", "seconds"
_FILES = 4
# Multiples of it, without the whole part, are spread over [0, 1) as evenly as can be.
_GOLDEN_RATIO = (5**0.5 - 1) / 2


def wait(batch: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """The work: as long as the rows take one after another."""
    time.sleep(float(batch[SECONDS].sum()))
    return batch


def latencies(rows: int, *, median_s: float, p99_s: float) -> NDArray[np.float64]:
    """Waits of a lognormal distribution, of which any stretch has about the same mean.

    Drawn at random, a stretch of 200 would differ from another by a tenth.
    """
    places = (np.arange(rows) + 0.5) * _GOLDEN_RATIO % 1
    normal = NormalDist()
    deviations = np.array([normal.inv_cdf(place) for place in places])
    return median_s * (p99_s / median_s) ** (deviations / normal.inv_cdf(0.99))


def skewed(
    batches: int, *, batch: int, seconds: float, slow_every: int, times: float, clustered: bool
) -> NDArray[np.float64]:
    """Waits of which one in so many is so many times as long; the others take `seconds` a batch.

    Args:
        clustered: whether whole batches are slow, and not rows among others.
    """
    run = batch if clustered else 1
    of_runs = np.full(batches * batch // run, seconds / batch)
    blocks = len(of_runs) // slow_every
    # Somewhere in each stretch of so many, so that any part of the data holds its share.
    places = np.random.default_rng(0).integers(0, slow_every, blocks)
    of_runs[np.arange(blocks) * slow_every + places] *= times
    return np.repeat(of_runs, run)


def write_waits(folder: Path, name: str, seconds: NDArray[np.float64], *, row_group: int) -> Path:
    """Parquet files of rows that take so long; written once: a folder that is there is kept."""
    target = folder / name
    if target.exists():
        return target
    staging = folder / f"{name}.part"
    staging.mkdir(parents=True, exist_ok=True)
    groups = -(-len(seconds) // row_group)
    for file, part in enumerate(np.array_split(np.arange(groups), min(_FILES, groups))):
        ids = np.arange(part[0] * row_group, min((part[-1] + 1) * row_group, len(seconds)))
        table = pa.table({KEY: ids, SECONDS: seconds[ids]})
        pq.write_table(table, staging / f"part-{file}.parquet", row_group_size=row_group)
    staging.rename(target)
    return target
