"""The consumer that all loaders feed alike: it takes a batch, and a step's time with it."""

import statistics
import time
from collections.abc import Iterable
from typing import Protocol, SupportsFloat

from benchmarks.harness.repeat import Reading

# The part of the rows that pass before the clock starts: a loader's queues are filled by then, and
# what it made ahead while it started is not counted as speed.
_WARM_UP = 0.2


class Column(Protocol):
    """The values of a column, one a row: an array or a tensor."""

    def __len__(self) -> int: ...
    def sum(self) -> SupportsFloat: ...


class Batch(Protocol):
    """A batch by the names of its columns."""

    def __getitem__(self, name: str, /) -> Column: ...


def drain(
    batches: Iterable[Batch], *, rows: int, key: str, step_s: float = 0.0, until: float = 1.0
) -> Reading:
    """Takes all batches, and says how fast they came.

    Args:
        rows: how many there are in all.
        key: the numeric column that is added up, as proof that every row came: its sum over all
            rows is `checksum`. Where it says how much work a row is, `key_per_s` is the work done.
        step_s: seconds that the consumer waits with each batch, like an accelerator at work; it
            uses no CPU.
        until: the part of the rows at which the clock stops; the others are taken too. Less than 1
            where workers that run out of work at the end would count as slow.

    Returns:
        rows_per_s after the first fifth of the rows, and key_per_s; first_batch_s from the call on;
        stall, the part of that time spent in waiting for a batch; next_p50_s and next_p99_s, the
        wait for a batch; rows and checksum.
    """
    began = time.perf_counter()
    first = mark = end = 0.0
    waits: list[float] = []
    seen, marked, ended = 0, 0, 0
    checksum, marked_sum, ended_sum = 0.0, 0.0, 0.0
    iterator = iter(batches)
    while True:
        asked = time.perf_counter()
        batch = next(iterator, None)
        now = time.perf_counter()
        if batch is None:
            break
        if mark and not end:
            waits.append(now - asked)
        column = batch[key]
        seen += len(column)
        checksum += float(column.sum())
        first = first or now - began
        if step_s:
            time.sleep(step_s)
        if not mark and seen >= _WARM_UP * rows:
            mark, marked, marked_sum = time.perf_counter(), seen, checksum
        elif mark and not end and seen >= until * rows:
            end, ended, ended_sum = time.perf_counter(), seen, checksum
    if seen != rows:
        raise ValueError(f"{seen:,} rows came, wanted {rows:,}")
    took = end - mark
    return {
        "rows_per_s": (ended - marked) / took,
        "key_per_s": (ended_sum - marked_sum) / took,
        "first_batch_s": first,
        "stall": sum(waits) / took,
        "next_p50_s": statistics.median(waits),
        "next_p99_s": sorted(waits)[int(0.99 * len(waits))],
        "rows": seen,
        "checksum": checksum,
    }
