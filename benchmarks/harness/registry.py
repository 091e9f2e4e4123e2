"""The benchmarks by name, and the module of each."""

import difflib
import importlib
from collections.abc import Sequence
from typing import Protocol, cast

from benchmarks.harness.outcome import Outcome, Settings

# In the order of the page. A name is what follows `python -m benchmarks`.
WORKLOADS: dict[str, str] = {
    "tabular": "benchmarks.workloads.tabular",
    "peers": "benchmarks.workloads.peers",
    "images": "benchmarks.workloads.images",
    "latency": "benchmarks.workloads.latency",
    "skew": "benchmarks.workloads.skew",
    "startup": "benchmarks.workloads.startup",
    "checkpoints": "benchmarks.workloads.checkpoints",
    "resume": "benchmarks.workloads.resume",
    "memory": "benchmarks.workloads.memory",
    "overhead": "benchmarks.workloads.overhead",
    "order_cost": "benchmarks.workloads.order_cost",
    "ledger_cost": "benchmarks.workloads.ledger_cost",
}
# What `--quick` runs where none is named: the small variants that are done in half a minute or so.
# Those of the others start Ray more often, and have to be asked for by name.
QUICK = ("tabular", "skew", "memory", "overhead")


class Workload(Protocol):
    """A module of benchmarks/workloads; its docstring says on the page what is measured."""

    NAME: str
    TITLE: str
    __doc__: str | None

    def run(self, settings: Settings) -> Outcome: ...


class UnknownWorkloadError(Exception):
    """There is no benchmark of that name."""


def load(name: str) -> Workload:
    return cast("Workload", importlib.import_module(WORKLOADS[name]))


def chosen(names: Sequence[str], *, quick: bool = False) -> list[str]:
    """The benchmarks of these names, each once, or all (all that are quick) where none is named.

    Raises:
        UnknownWorkloadError: one of them does not exist.
    """
    for name in names:
        if name not in WORKLOADS:
            close = difflib.get_close_matches(name, WORKLOADS, n=1)
            question = f'; did you mean "{close[0]}"?' if close else ""
            known = ", ".join(WORKLOADS)
            raise UnknownWorkloadError(f'no benchmark "{name}"{question} (benchmarks: {known})')
    return list(dict.fromkeys(names)) or list(QUICK if quick else WORKLOADS)
