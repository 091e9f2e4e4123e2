"""How fast plain processes do a piece of work, one or several at once: what bounds a loader."""

import time
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from typing import TYPE_CHECKING, cast

from benchmarks.harness.repeat import Reading
from benchmarks.harness.symbols import find

if TYPE_CHECKING:
    # Takes a parameter for the type checker only.
    from multiprocessing.queues import SimpleQueue

_START_LIMIT_S = 120.0


def at_once(
    *, call: str, arguments: Mapping[str, object], processes: int, seconds: float
) -> Reading:
    """Rows a second of so many processes together.

    Args:
        call: `module:name` of a function that gets ready and returns the work: a function that does
            a part of it and says how many rows these were. It is called once unmeasured.
    """
    context = get_context("fork")
    ready = context.Barrier(processes)
    rates: SimpleQueue[float] = context.SimpleQueue()
    workers = [
        context.Process(target=_measure, args=(call, arguments, seconds, ready, rates))
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise RuntimeError(f"{call}: a process ended with exit code {worker.exitcode}")
    return {"rows_per_s": sum(rates.get() for _ in workers)}


def _measure(
    call: str,
    arguments: Mapping[str, object],
    seconds: float,
    ready: Barrier,
    rates: "SimpleQueue[float]",
) -> None:
    work = cast("Callable[[], int]", find(call)(**arguments))
    work()
    ready.wait(_START_LIMIT_S)
    began, rows, took = time.perf_counter(), 0, 0.0
    while took < seconds:
        rows += work()
        took = time.perf_counter() - began
    rates.put(rows / took)
