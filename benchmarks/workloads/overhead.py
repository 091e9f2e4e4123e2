"""W10, the overhead floor: nothing is done to the rows, so that only their way to the step counts.

All points of a round are measured on one Ray, one after another, every second round backwards.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.harness.drain import drain
from benchmarks.harness.outcome import Outcome, Settings, at_least, figure
from benchmarks.harness.own_ray import own_ray
from benchmarks.harness.repeat import Contender, Reading, Rounds, Series, run_once
from benchmarks.loaders.ours import cost_of, plan_stream, read_stream
from orchestrator.data.pools import pool_workers

NAME = "overhead"
TITLE = "W10: what a block and a batch cost when nothing is done to the rows"
KEY = "id"
_BATCH = 1024
_ROWS, _QUICK_ROWS = 2_000_000, 1_000_000
# All superblocks of the sweep divide it.
_WINDOW = {"type": "window", "rows": 256 * _BATCH}
_STEPS, _QUICK_STEPS = (4, 16, 64, 256), (16, 256)
# The number of columns, and how they are stored: one by one, or as one column of vectors.
_LAYOUTS = ((1, "scalars"), (16, "scalars"), (16, "vector"), (64, "scalars"))
_SWEPT = (64, "vector")
_AUTO = "automatic"
# So often the rows pass: a stream is ahead by some blocks when the clock starts, and these must be
# few beside all others.
_EPOCHS = 8
_EPOCHS_OF_BLOCKS = {4: 1, 16: 2, 64: 4}
_LIMIT_S = 60.0


class Point(TypedDict):
    """What is measured: the folder of the data, how often, and the settings of `scaling`."""

    data: str
    epochs: int
    scaling: dict[str, object]


def run(settings: Settings) -> Outcome:
    """Superblocks of several sizes beside the automatic one, then columns of several layouts."""
    points = _points(settings)
    readings: list[Reading] = []
    for number in range(1 if settings.quick else settings.rounds):
        names = list(points) if number % 2 == 0 else list(reversed(points))
        arguments = {"points": {name: points[name] for name in names}}
        readings.append(
            run_once(Contender(name=NAME, call=f"{__name__}:measure", arguments=arguments))
        )
        print(f"  round {number + 1}  {readings[-1]}", flush=True)
    rounds = Rounds({name: [{"rows_per_s": each[name]} for each in readings] for name in points})
    rates = {name: rounds.series(name, "rows_per_s") for name in points}
    sizes = _QUICK_STEPS if settings.quick else _STEPS
    swept = [_named(steps) for steps in sizes]
    best = rounds.best([*swept, _AUTO], "rows_per_s")
    block, batch = _costs({steps: rates[_named(steps)] for steps in sizes})
    checks = [
        at_least(f"{_AUTO} / best of the sweep ({best})", rates[_AUTO].over(rates[best]), 0.9)
    ]
    for width in () if settings.quick else (16, 64):
        vector = rates[_AUTO if (width, "vector") == _SWEPT else f"{width} vector"]
        ratio = rates[f"{width} scalars"].over(vector)
        checks.append(at_least(f"{width} columns / one vector of {width}", ratio, None))
    return Outcome(
        name=NAME,
        title=TITLE,
        figures=[
            *(figure(name, "rows/s", series) for name, series in rates.items()),
            figure("a block more", "ms", block),
            figure("a batch in the largest blocks", "us", batch),
        ],
        checks=checks,
        notes=[
            f"Batches of {_BATCH} rows of 64 float32 and a number, windows of 256 batches, one"
            " training worker. What a block costs is the slope of the seconds a batch over the"
            " blocks a batch."
        ],
    )


def _points(settings: Settings) -> dict[str, Point]:
    """What is measured, by its name."""
    rows, epochs = (_QUICK_ROWS, 2) if settings.quick else (_ROWS, _EPOCHS)

    def data(width: int, layout: str) -> str:
        return str(write_data(settings.folder, rows=rows, width=width, layout=layout))

    swept = data(*_SWEPT)
    points: dict[str, Point] = {_AUTO: {"data": swept, "epochs": epochs, "scaling": {}}}
    for steps in _QUICK_STEPS if settings.quick else _STEPS:
        points[_named(steps)] = {
            "data": swept,
            "epochs": min(epochs, _EPOCHS_OF_BLOCKS.get(steps, epochs)),
            "scaling": {"superblock_steps": steps},
        }
    for width, layout in () if settings.quick else _LAYOUTS:
        points[f"{width} {layout}"] = {
            "data": data(width, layout),
            "epochs": epochs,
            "scaling": {},
        }
    return points


def _named(steps: int) -> str:
    return f"{steps} batches a block"


def _costs(rates: Mapping[int, Series]) -> tuple[Series, Series]:
    """Milliseconds of a block, and microseconds of a batch without it, of each round."""
    blocks = [1 / steps for steps in rates]
    seconds = [
        _BATCH / np.array(each)
        for each in zip(*(series.values for series in rates.values()), strict=True)
    ]
    lines = [np.polyfit(blocks, each, 1) for each in seconds]
    least = max(rates)
    return (
        Series(tuple(float(slope) * 1e3 for slope, _ in lines)),
        Series(tuple(_BATCH / value * 1e6 for value in rates[least].values)),
    )


def unchanged(batch: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """The transform that does nothing."""
    return batch


def write_data(folder: Path, *, rows: int, width: int, layout: str) -> Path:
    """Rows of `width` numbers beside their own number; written once."""
    target = folder / f"overhead-{rows}-{width}-{layout}"
    if target.exists():
        return target
    staging = target.with_suffix(".part")
    staging.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    size, files = 1 << 16, 8
    for file, ids in enumerate(np.array_split(np.arange(rows), files)):
        values = rng.random((len(ids), width), dtype=np.float32)
        columns = {"x": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), width)}
        if layout == "scalars":
            columns = {f"x{number:02}": pa.array(values[:, number]) for number in range(width)}
        pq.write_table(
            pa.table({KEY: ids, **columns}),
            staging / f"part-{file}.parquet",
            row_group_size=size,
            use_dictionary=False,
            compression="none",
        )
    staging.rename(target)
    return target


def measure(points: Mapping[str, Point]) -> Reading:
    """The rows a second of each point, by its name: one stream after another on one Ray."""
    found: Reading = {}
    with own_ray() as capacity:
        for name, point in points.items():
            plan = plan_stream(
                data=point["data"],
                work=f"{__name__}:unchanged",
                batch=_BATCH,
                epochs=point["epochs"],
                shuffle=_WINDOW,
                scaling=point["scaling"],
                capacity=capacity,
            )
            plan = plan.measured(cost_of(plan))
            rows = plan.train.index.rows * point["epochs"]
            found[name] = drain(read_stream(plan), rows=rows, key=KEY)["rows_per_s"]
            _wait_for_end()
    return found


def _wait_for_end() -> None:
    """The workers of one stream must not take time from the next one."""
    deadline = time.monotonic() + _LIMIT_S
    while any(worker.state != "DEAD" for worker in pool_workers()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the workers of a stream are alive {_LIMIT_S:.0f} s after its end")
        time.sleep(0.05)
