"""JPEGs from Parquet, decoded and augmented, in batches to a consumer."""

from importlib.util import find_spec

from benchmarks.harness.choice import best_of
from benchmarks.harness.outcome import Check, Outcome, Settings, at_least, figure
from benchmarks.harness.repeat import Contender, Rounds, Series, run_rounds

NAME = "images"
TITLE = "W2: JPEGs of 256 px decoded, cropped at random to 224 px, flipped; batches of 64"

BATCH = 64
_HERE = "benchmarks.workloads.images_plain"
_IMAGES, _QUICK_IMAGES = 4_096, 1_024
# Enough for some seconds of the fastest on a fast machine: less, and the last windows, which leave
# workers without work, are a good part of what is measured.
_EPOCHS = (12, 3)
_ROW_GROUP = 128
_WORKERS = (1, 2, 3)
_LIMIT_S = 3.0
# The installed packages of the extra `bench`.
_NEEDS = ("cv2", "simplejpeg", "skimage", "sklearn")

OURS, LIMIT, LIMIT_2 = "ours", "P1 read, decode, augment", "PC two of these"
BATCHES, VIEWS, WINDOWS = "DataLoader, batches", "DataLoader, shared batches", "DataLoader, windows"
RING = "Pool, shared ring"
_DECODE = "decode alone, "


def run(settings: Settings) -> Outcome:
    """Measures ours, the peers and the limits in turn."""
    if lacking := [name for name in _NEEDS if find_spec(name) is None]:
        return Outcome(
            name=NAME,
            title=TITLE,
            notes=[f"Skipped: {', '.join(lacking)} is not installed; the extra `bench` has it."],
        )
    from benchmarks.workloads.images_decoders import installed
    from benchmarks.workloads.images_work import KEY, write_data

    images = _QUICK_IMAGES if settings.quick else _IMAGES
    data = str(write_data(settings.folder, images=images, row_group=_ROW_GROUP))
    common: dict[str, object] = {
        "data": data,
        "batch": BATCH,
        "key": KEY,
        "epochs": _EPOCHS[settings.quick],
    }
    work = {"work": "benchmarks.workloads.images_work:transform"}
    ours = Contender(name=OURS, call="benchmarks.loaders.ours:run", arguments=common | work)
    peers = _quick_peers(common) if settings.quick else _best_peers(common)
    limits = _limits(data, seconds=_LIMIT_S / (4 if settings.quick else 1))
    decoders = [] if settings.quick else [_decoder(data, name) for name in installed()]
    rounds = 2 if settings.quick else settings.rounds
    return _outcome(run_rounds([ours, *peers, *limits, *decoders], rounds=rounds))


def _quick_peers(common: dict[str, object]) -> list[Contender]:
    return [_peer(common, VIEWS, "torch_loader", "views", workers=2)]


def _best_peers(common: dict[str, object]) -> list[Contender]:
    """All peers, each with the number of workers that was best in a first try."""
    kinds = (
        (BATCHES, "torch_loader", "batches"),
        (VIEWS, "torch_loader", "views"),
        (WINDOWS, "torch_loader", "windows"),
        (RING, "pool", "ring"),
    )
    return [
        best_of([_peer(common, name, loader, mode, workers=workers) for workers in _WORKERS])
        for name, loader, mode in kinds
    ]


def _peer(
    common: dict[str, object], name: str, loader: str, mode: str, *, workers: int
) -> Contender:
    own = {"make": f"{_HERE}:make_window", "mode": mode, "workers": workers, "groups": 1}
    return Contender(name=name, call=f"benchmarks.loaders.{loader}:run", arguments=common | own)


def _limits(data: str, *, seconds: float) -> list[Contender]:
    return [
        Contender(
            name=name,
            call="benchmarks.harness.limits:at_once",
            arguments={
                "call": f"{_HERE}:window_work",
                "arguments": {"data": data, "groups": 1},
                "processes": processes,
                "seconds": seconds,
            },
        )
        for name, processes in ((LIMIT, 1), (LIMIT_2, 2))
    ]


def _decoder(data: str, name: str) -> Contender:
    arguments: dict[str, object] = {
        "call": "benchmarks.workloads.images_decoders:decode_work",
        "arguments": {"data": data, "decoder": name},
        "processes": 1,
        "seconds": _LIMIT_S / 2,
    }
    call = "benchmarks.harness.limits:at_once"
    return Contender(name=f"{_DECODE}{name}", call=call, arguments=arguments)


def _outcome(measured: Rounds) -> Outcome:
    series = {name: measured.series(name, "rows_per_s") for name in measured.readings}
    return Outcome(
        name=NAME,
        title=TITLE,
        figures=[
            *(figure(name, "images/s", each) for name, each in series.items()),
            figure(f"{OURS}: first batch", "s", measured.series(OURS, "first_batch_s")),
        ],
        checks=_checks(measured, series),
        notes=[
            "The bound of eta is PC: two plain processes that read, decode and augment. The"
            " consumer alone is faster by far.",
            f"All decode with simplejpeg (libjpeg-turbo). {_fastest(measured)}Decoding at a"
            " reduced scale is no choice: no crop is twice as large as 224 px.",
            "All batches are uint8; ours stay good, those of the ring only until the next one.",
        ],
    )


def _fastest(measured: Rounds) -> str:
    """A sentence about the decoders, where they were measured."""
    names = [name for name in measured.readings if name.startswith(_DECODE)]
    if not names:
        return ""
    best = measured.best(names, "rows_per_s").removeprefix(_DECODE)
    known = ", ".join(name.removeprefix(_DECODE) for name in names)
    return f"Of {known}, in one process each, the fastest here is {best}. "


def _checks(measured: Rounds, series: dict[str, Series]) -> list[Check]:
    ours = series[OURS]
    best = measured.best(
        [name for name in (BATCHES, VIEWS, WINDOWS) if name in series], "rows_per_s"
    )
    checks = [
        at_least("eta = ours / PC", ours.over(series[LIMIT_2]), 0.95),
        at_least(f"ours / best DataLoader ({best})", ours.over(series[best]), 1.1),
    ]
    if RING in series:
        checks.append(at_least(f"ours / {RING}", ours.over(series[RING]), None))
    return checks
