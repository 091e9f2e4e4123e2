"""W9, bounded memory: a data set of eight times the object store, and a slow step, then a fast one.

Nothing may be spilled, no more may lie in the store than the plan says, and a small store must
not cost any speed.
"""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.harness.drain import drain
from benchmarks.harness.outcome import Outcome, Settings, at_least, at_most, figure
from benchmarks.harness.own_ray import own_ray
from benchmarks.harness.repeat import Contender, Reading, run_rounds
from benchmarks.harness.store import StoreWatch
from benchmarks.loaders.ours import plan_stream, read_stream
from orchestrator.plan.memory import stream_memory

NAME = "memory"
TITLE = "W9: memory is bounded: a data set of eight times the object store"
KEY = "id"
_BATCH = 1024
# With its number a row is 1 KiB, before the transform and after it.
_WIDTH = 254
_ROW_BYTES = 1 << 10
_TIMES = 8
_SMALL, _QUICK_SMALL = 512 << 20, 128 << 20
_LARGE = 4 << 30
# Longer than preprocessing takes for a batch, so that all queues fill up.
_SLOW_S = 0.01


def unchanged(batch: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """The transform that does nothing: as many bytes leave it as the plan counts."""
    return batch


def run(settings: Settings) -> Outcome:
    """A small store beside a large one; and the small one with a consumer that is slow at first."""
    small = _QUICK_SMALL if settings.quick else _SMALL
    rows = _TIMES * small // _ROW_BYTES
    common = {"data": str(write_data(settings.folder, rows=rows)), "quick": settings.quick}
    call = f"{__name__}:measure"
    contenders = [
        Contender(
            name="slow, then fast",
            call=call,
            arguments={**common, "store_bytes": small, "slow_rows": rows // 2},
        ),
        Contender(name="small store", call=call, arguments={**common, "store_bytes": small}),
        Contender(name="large store", call=call, arguments={**common, "store_bytes": _LARGE}),
    ]
    rounds = run_rounds(
        contenders[:1] if settings.quick else contenders,
        rounds=1 if settings.quick else settings.rounds,
    )
    slow = "slow, then fast"
    checks = [
        at_most("objects spilled", rounds.series(slow, "spilled_objects"), 0),
        at_most(
            "peak / what the plan says",
            rounds.series(slow, "peak_bytes").over(rounds.series(slow, "planned_bytes")),
            1.5,
        ),
    ]
    if not settings.quick:
        rates = (rounds.series(name, "rows_per_s") for name in ("small store", "large store"))
        checks.append(at_least("rate, small / large store", next(rates).over(next(rates)), 0.95))
    figures = [
        figure(f"{name}: {what}", unit, rounds.series(name, key))
        for name in rounds.readings
        for what, unit, key in (
            ("rows/s", "rows/s", "rows_per_s"),
            ("peak in the store", "bytes", "peak_bytes"),
            ("spilled", "bytes", "spilled_bytes"),
        )
    ]
    return Outcome(
        name=NAME,
        title=TITLE,
        figures=[*figures, figure("planned", "bytes", rounds.series(slow, "planned_bytes"))],
        checks=checks,
        notes=[
            f"Stores of {small >> 20} MiB and {_LARGE >> 20} MiB; {rows:,} rows of 1 KiB. The"
            f" slow step takes {_SLOW_S * 1e3:.0f} ms and ends after half of the rows. Peak and"
            " spilled bytes are what Ray's node says ten times a second."
        ],
    )


def write_data(folder: Path, *, rows: int) -> Path:
    """Rows of 254 numbers beside their own number; written once."""
    target = folder / f"memory-{rows}"
    if target.exists():
        return target
    staging = target.with_suffix(".part")
    staging.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for file, ids in enumerate(np.array_split(np.arange(rows), -(-rows // (1 << 18)))):
        values = rng.random((len(ids), _WIDTH), dtype=np.float32)
        numbers = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), _WIDTH)
        pq.write_table(
            pa.table({KEY: ids, "x": numbers}),
            staging / f"part-{file:03}.parquet",
            row_group_size=1 << 14,
            use_dictionary=False,
            compression="none",
        )
    staging.rename(target)
    return target


def measure(*, data: str, store_bytes: int, slow_rows: int = 0, quick: bool = False) -> Reading:
    """One repetition: all rows once, with an eye on the store."""
    window = {"type": "window", "rows": 1 << 13} if quick else "window"
    with own_ray(store_bytes=store_bytes, watched=True) as capacity, StoreWatch() as watch:
        plan = plan_stream(
            data=data,
            work=f"{__name__}:unchanged",
            batch=_BATCH,
            shuffle=window,
            scaling={"preprocessing": {"workers": 2}},
            capacity=capacity,
            store_bytes=store_bytes,
        )
        reading = drain(
            _slow_first(read_stream(plan), slow_rows // _BATCH),
            rows=plan.train.index.rows,
            key=KEY,
        )
    planned = stream_memory(plan.train).total
    return {
        **reading,
        "planned_bytes": planned,
        "peak_bytes": watch.peak_bytes,
        "spilled_bytes": watch.spilled_bytes,
        "spilled_objects": watch.spilled_objects,
        "looks": watch.looks,
    }


def _slow_first(batches: Iterable[dict[str, Tensor]], slow: int) -> Iterator[dict[str, Tensor]]:
    """The batches, the first of them with a pause after each, in which only others work."""
    for number, batch in enumerate(batches):
        yield batch
        if number < slow:
            time.sleep(_SLOW_S)
