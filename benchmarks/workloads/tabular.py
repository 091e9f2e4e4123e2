"""Tabular rows from Parquet, preprocessed and shuffled, in batches to a consumer."""

from collections.abc import Mapping
from functools import partial

from benchmarks.harness.choice import best_of
from benchmarks.harness.outcome import Check, Outcome, Settings, at_least, figure
from benchmarks.harness.repeat import Contender, Rounds, Series, run_rounds
from benchmarks.workloads.tabular_work import KEY, write_data

NAME = "tabular"
TITLE = "W1: tabular Parquet, preprocessed and shuffled, batches of 1,024 to a consumer"

BATCH, STEP_BATCH, STEP_S = 1_024, 4_096, 0.005
_HERE = "benchmarks.workloads.tabular_plain"
_WORK = "benchmarks.workloads.tabular_work:preprocess"
_ROWS, _QUICK_ROWS = 1 << 21, 1 << 19
# Row groups of a window: 393,216 rows, where our windows have 442,368.
_GROUPS = 3
# Rows in Ray's shuffle buffer, which costs time with its size: much less mixing than a window.
_RAY_SHUFFLE = 16_384
_WORKERS = (1, 2, 3)
# Ours may hold two million rows ready, or more, before one is taken: the clock starts when
# they are used up, which a short run would not see.
_EPOCHS, _QUICK_EPOCHS, _STEP_EPOCHS = 12, 32, 6
_LIMIT_S = 2.0

OURS, OURS_STEP = "ours", "ours, steps of 5 ms"
RESIDENT, RESIDENT_2 = "P1 preprocess, resident rows", "PC two of these"
WHOLE, WHOLE_2 = "PR1 read, preprocess, permute", "PRC two of these"
READERS_2 = "two of our readers, nothing handed on"
CONSUMER, CONSUMER_STEP = "T consumer alone", "T with steps of 5 ms"
BATCHES, VIEWS, WINDOWS = "DataLoader, batches", "DataLoader, shared batches", "DataLoader, windows"
PIPE, RING, RAY = "Pool, pipe", "Pool, shared ring", "plain Ray Data"


def run(settings: Settings) -> Outcome:
    """Measures ours, the peers and the limits in turn."""
    rows = _QUICK_ROWS if settings.quick else _ROWS
    data = str(write_data(settings.folder, rows=rows))
    peers = _quick_peers(data) if settings.quick else _best_peers(data)
    epochs = _QUICK_EPOCHS if settings.quick else _EPOCHS
    own = _ours(data, epochs=epochs, with_step=not settings.quick)
    limits = _limits(data, seconds=_LIMIT_S / (4 if settings.quick else 1))
    if not settings.quick:
        own.append(_readers(data))
    measured = run_rounds(
        [*own, *peers, *limits],
        rounds=min(2, settings.rounds) if settings.quick else settings.rounds,
    )
    return _outcome(measured)


def _ours(data: str, *, epochs: int, with_step: bool) -> list[Contender]:
    call = "benchmarks.loaders.ours:run"
    common = {"data": data, "work": _WORK, "key": KEY}
    null = Contender(name=OURS, call=call, arguments={**common, "batch": BATCH, "epochs": epochs})
    step = {**common, "batch": STEP_BATCH, "step_s": STEP_S, "epochs": _STEP_EPOCHS}
    stepping = Contender(name=OURS_STEP, call=call, arguments=step)
    return [null, stepping] if with_step else [null]


def _readers(data: str) -> Contender:
    """What ours would give if handing blocks on were free: tells where the rest goes."""
    arguments: dict[str, object] = {
        "call": "benchmarks.loaders.ours:reader_work",
        "arguments": {"data": data, "work": _WORK, "batch": BATCH},
        "processes": 2,
        "seconds": _LIMIT_S,
    }
    call = "benchmarks.harness.limits:at_once"
    return Contender(name=READERS_2, call=call, arguments=arguments)


def _quick_peers(data: str) -> list[Contender]:
    return [_dataloader(data, WINDOWS, "windows", workers=2)]


def _best_peers(data: str) -> list[Contender]:
    """All peers, each with the number of workers that was best in a first try."""
    found = [
        best_of([_dataloader(data, name, mode, workers=workers) for workers in _WORKERS])
        for name, mode in ((BATCHES, "batches"), (VIEWS, "views"), (WINDOWS, "windows"))
    ]
    for name, mode in ((PIPE, "pipe"), (RING, "ring")):
        found.append(best_of([_pool(data, name, mode, workers=workers) for workers in _WORKERS]))
    ray = {"data": data, "work": _WORK, "batch": BATCH, "key": KEY, "shuffle_rows": _RAY_SHUFFLE}
    return [*found, Contender(name=RAY, call="benchmarks.loaders.plain_ray:run", arguments=ray)]


def _dataloader(data: str, name: str, mode: str, *, workers: int) -> Contender:
    # The slow ones are steady within one epoch; the fast ones need more windows than that.
    arguments = _peer(data, workers, epochs=4 if mode == "windows" else 1) | {"mode": mode}
    return Contender(name=name, call="benchmarks.loaders.torch_loader:run", arguments=arguments)


def _pool(data: str, name: str, mode: str, *, workers: int) -> Contender:
    arguments = _peer(data, workers, epochs=4) | {"mode": mode}
    return Contender(name=name, call="benchmarks.loaders.pool:run", arguments=arguments)


def _peer(data: str, workers: int, *, epochs: int) -> dict[str, object]:
    return {
        "data": data,
        "make": f"{_HERE}:make_window",
        "batch": BATCH,
        "key": KEY,
        "workers": workers,
        "groups": _GROUPS,
        "epochs": epochs,
    }


def _limits(data: str, *, seconds: float) -> list[Contender]:
    bounds = [
        _limit(name, work, data, processes, seconds)
        for name, work, processes in (
            (RESIDENT, "resident_work", 1),
            (RESIDENT_2, "resident_work", 2),
            (WHOLE, "whole_work", 1),
            (WHOLE_2, "whole_work", 2),
        )
    ]
    consumer = partial(Contender, call=f"{_HERE}:consume_resident")
    steps: Mapping[str, object] = {"batch": STEP_BATCH, "batches": 200, "step_s": STEP_S}
    return [
        *bounds,
        consumer(name=CONSUMER, arguments={"batch": BATCH, "batches": 20_000}),
        consumer(name=CONSUMER_STEP, arguments=steps),
    ]


def _limit(name: str, work: str, data: str, processes: int, seconds: float) -> Contender:
    arguments: dict[str, object] = {
        "call": f"{_HERE}:{work}",
        "arguments": {"data": data, "groups": _GROUPS},
        "processes": processes,
        "seconds": seconds,
    }
    return Contender(name=name, call="benchmarks.harness.limits:at_once", arguments=arguments)


def _outcome(measured: Rounds) -> Outcome:
    names = list(measured.readings)
    series = {name: measured.series(name, "rows_per_s") for name in names}
    proofs = {name: measured.series(name, "first_batch_s") for name in (OURS,)}
    bound = _lower(series[CONSUMER], series[WHOLE_2])
    checks = [
        at_least("eta = ours / min(T, PRC), null consumer", series[OURS].over(bound), 0.65),
        at_least(
            "ours / min(T, PC), preprocessing alone",
            series[OURS].over(_lower(series[CONSUMER], series[RESIDENT_2])),
            None,
        ),
    ]
    if READERS_2 in series:
        readers = series[READERS_2]
        checks.append(at_least("ours / two of our readers", series[OURS].over(readers), None))
        share = readers.over(series[WHOLE_2])
        checks.append(at_least("two of our readers / PRC", share, None))
    if OURS_STEP in series:
        bound = _lower(series[CONSUMER_STEP], series[WHOLE_2])
        share = series[OURS_STEP].over(bound)
        checks.append(at_least("eta with steps of 5 ms", share, 0.95))
    return Outcome(
        name=NAME,
        title=TITLE,
        figures=[
            *(figure(name, "rows/s", series[name]) for name in names),
            *(figure(f"{name}: first batch", "s", value) for name, value in proofs.items()),
        ],
        checks=[*checks, *_against_peers(measured, series)],
        notes=_notes(measured),
    )


def _against_peers(measured: Rounds, series: Mapping[str, Series]) -> list[Check]:
    ours = series[OURS]
    checks = []
    if both := [name for name in (BATCHES, VIEWS) if name in series]:
        best = measured.best(both, "rows_per_s")
        checks.append(at_least(f"ours / {best}", ours.over(series[best]), 3.5))
    targets = {WINDOWS: 1.0, PIPE: 1.1, RING: None, RAY: 8.0}
    for name, target in targets.items():
        if name in series:
            checks.append(at_least(f"ours / {name}", ours.over(series[name]), target))
    return checks


def _lower(one: Series, other: Series) -> Series:
    return Series(tuple(map(min, zip(one.values, other.values, strict=True))))


def _notes(measured: Rounds) -> list[str]:
    notes = [
        "The bound of eta is min(T, PRC): T the consumer on a resident batch, PRC two plain"
        " processes that read, preprocess and permute. PC leaves reading out.",
        "All peers preprocess in pieces that a cache holds and permute afterwards, keep files open"
        " and freed memory, and have no pause between epochs.",
        f"Plain Ray Data shuffles files and {_RAY_SHUFFLE:,} rows, less than a window.",
    ]
    if RING in measured.readings:
        notes.append(
            f"{RING}: a batch is good only until the next one is asked for; ours stay good."
        )
    return notes
