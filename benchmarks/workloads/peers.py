"""The rows of W1 from other loaders: HF datasets, WebDataset, Grain, SPDL, tf.data.

Each is written as its documentation and a profile suggest, and gets the same function, the same
files and the null consumer. One that is not installed is not measured.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import cast

from benchmarks.harness.choice import best_of
from benchmarks.harness.outcome import Outcome, Settings, at_least, figure
from benchmarks.harness.repeat import Contender, RepetitionFailedError, Rounds, run_rounds
from benchmarks.workloads.tabular_work import KEY, write_data

NAME = "peers"
TITLE = "W1 beside other loaders"

OURS = "ours"
# Names the interpreter of an environment that has tensorflow-cpu, numpy and pyarrow.
TF_PYTHON = "ORCHESTRATOR_BENCH_TF"

_BATCH = 1_024
_WORK = "benchmarks.workloads.tabular_work:preprocess"
_MAKE = "benchmarks.workloads.tabular_plain:make_window"
_ROWS, _QUICK_ROWS = 1 << 21, 1 << 19
# Of 16 in all; rows are mixed among so many.
_GROUPS = 3
_WORKERS = (1, 2)
_EPOCHS, _PEER_EPOCHS = (12, 32), (4, 6)


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A loader of benchmarks/loaders, and what has to be there for it.

    `over` says what it takes: whole windows, made by the function of the plain peers, or rows,
    which it reads and mixes in its own way.
    """

    name: str
    loader: str
    module: str
    over: str
    python: str | None = None

    @property
    def is_there(self) -> bool:
        if self.python is None:
            return find_spec(self.module) is not None
        return self.python in os.environ


PEERS = (
    Peer(name="HF datasets", loader="hf_loader", module="datasets", over="rows"),
    Peer(name="WebDataset", loader="webdataset_loader", module="webdataset", over="rows"),
    Peer(name="Grain", loader="grain_loader", module="grain", over="windows"),
    Peer(name="SPDL", loader="spdl_loader", module="spdl", over="windows"),
    Peer(
        name="tf.data",
        loader="tfdata_loader",
        module="tensorflow",
        over="windows",
        python=TF_PYTHON,
    ),
)


def run(settings: Settings) -> Outcome:
    """Measures ours and the peers that are there in turn, each with its best number of workers."""
    rows = _QUICK_ROWS if settings.quick else _ROWS
    data = str(write_data(settings.folder, rows=rows))
    there = [peer for peer in PEERS if peer.is_there]
    peers = [_best(peer, data, rows=rows, epochs=_PEER_EPOCHS[settings.quick]) for peer in there]
    ours = {
        "data": data,
        "work": _WORK,
        "key": KEY,
        "batch": _BATCH,
        "epochs": _EPOCHS[settings.quick],
    }
    contenders = [Contender(name=OURS, call="benchmarks.loaders.ours:run", arguments=ours), *peers]
    measured = run_rounds(contenders, rounds=1 if settings.quick else settings.rounds)
    _prove(measured, contenders, rows=rows)
    workers = {peer.name: peer.arguments["workers"] for peer in peers}
    return _outcome(measured, workers)


def _best(peer: Peer, data: str, *, rows: int, epochs: int) -> Contender:
    return best_of(
        [_contender(peer, data, rows=rows, epochs=epochs, workers=each) for each in _WORKERS]
    )


def _contender(peer: Peer, data: str, *, rows: int, epochs: int, workers: int) -> Contender:
    takes: Mapping[str, Mapping[str, object]] = {
        "windows": {"make": _MAKE, "groups": _GROUPS},
        "rows": {"work": _WORK, "mixed_rows": rows * _GROUPS // 16},
    }
    common = {"data": data, "batch": _BATCH, "key": KEY, "workers": workers, "epochs": epochs}
    call = f"benchmarks.loaders.{peer.loader}:run"
    contender = Contender(name=peer.name, call=call, arguments={**common, **takes[peer.over]})
    if peer.python is None:
        return contender
    return replace(contender, python=os.environ[peer.python])


def _prove(measured: Rounds, contenders: Sequence[Contender], *, rows: int) -> None:
    """Every row came in every epoch: the key counts the rows, so its sum is known."""
    for contender in contenders:
        wanted = cast("int", contender.arguments["epochs"]) * rows * (rows - 1) // 2
        for got in measured.series(contender.name, "checksum").values:
            if got != wanted:
                raise RepetitionFailedError(
                    f"{contender.name}: the sum of {KEY} is {got:.0f}, wanted {wanted}"
                )


def _outcome(measured: Rounds, workers: Mapping[str, object]) -> Outcome:
    series = {name: measured.series(name, "rows_per_s") for name in measured.readings}
    return Outcome(
        name=NAME,
        title=TITLE,
        figures=[
            *(figure(name, "rows/s", each) for name, each in series.items()),
            *(
                figure(f"{name}: first batch", "s", measured.series(name, "first_batch_s"))
                for name in series
            ),
        ],
        checks=[
            at_least(f"ours / {name}", series[OURS].over(series[name]), None) for name in workers
        ],
        notes=_notes(workers),
    )


def _notes(workers: Mapping[str, object]) -> list[str]:
    notes = [
        "Grain, SPDL and tf.data get windows and call what the plain peers of W1 call: they read,"
        " preprocess in pieces that a cache holds, permute. HF datasets and WebDataset read and mix"
        " as many rows in their own way.",
        "WebDataset reads tar files, which are made of the Parquet ones beforehand; that time is"
        " not counted.",
        "LitData is not measured: it wants another torch and python-dateutil than ours.",
    ]
    if workers:
        chosen = ", ".join(f"{name} {number}" for name, number in workers.items())
        notes.append(f"Workers, the better of 1 and 2 in a first try: {chosen}.")
    notes += [_missing(peer) for peer in PEERS if not peer.is_there]
    return notes


def _missing(peer: Peer) -> str:
    if peer.python is None:
        return f"{peer.name} is not measured: not installed, see `make bench-setup`."
    return (
        f"{peer.name} is not measured: `{peer.python}` names no interpreter. To have it: python -m"
        " venv tf && tf/bin/pip install tensorflow-cpu pyarrow, and then"
        f" {peer.python}=tf/bin/python."
    )
