"""The order and the ledger of the full size, simulated by their own code."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from benchmarks.scale.line import ROWS, Line, seconds, size
from benchmarks.scale.simulation import (
    Simulation,
    check_epoch,
    check_steps,
    check_windows,
    keep_books,
)

T = TypeVar("T")
FULL = Simulation(
    workers=1_000, fragments=10**6, fragment_rows=10**6, worker_batch=1_024, window_steps=8
)
# The same rows in row groups of a tenth of the length.
MANY = Simulation(
    workers=1_000, fragments=10**7, fragment_rows=10**5, worker_batch=1_024, window_steps=8
)
_STEPS, _WINDOWS, _BOOKED = 100, 2_000, 16


def order_lines(simulation: Simulation) -> Iterator[Line]:
    """The order of a simulated job: that it holds, and what it costs a reader.

    Raises:
        SimulationError: it does not hold.
    """
    made_s, order = timed(simulation.order)
    laid_s, _ = timed(lambda: order.window(0, 0))
    name = f"{simulation.fragments:,} fragments"
    yield Line(
        what=f"order of {name}, made once in each reader",
        measured=seconds(made_s),
        at_scale=f"{seconds(made_s)}, {size(16 * simulation.fragments)}",
    )
    yield Line(
        what="layout of an epoch, in each reader at its first window",
        measured=seconds(laid_s),
        at_scale=f"{seconds(laid_s)}, {size(16 * simulation.fragments)} (the last two are kept)",
    )
    random, geometry = np.random.default_rng(0), simulation.geometry(order)
    steps = [0, geometry.steps_per_epoch - 1]
    steps += random.integers(0, geometry.steps_per_epoch, _STEPS).tolist()
    spans = check_steps(simulation, order, steps)
    windows = [0, order.windows - 1, *random.integers(0, order.windows, _WINDOWS).tolist()]
    check_epoch(order, 0)
    looked_s, rows = timed(lambda: check_windows(order, 0, windows))
    yield Line(
        what="spans of all ranks in random steps: end to end, no gap, none twice",
        measured=f"{spans:,} spans",
        at_scale=f"{geometry.steps_per_epoch:,} steps",
    )
    yield Line(
        what="random windows of an epoch: each begins where the one before it ends",
        measured=f"{len(windows):,} ({rows:,} rows), {seconds(looked_s / len(windows))} each",
        at_scale=f"{order.windows:,} windows",
    )
    early, late = (resume_s(simulation, share) for share in (0.1, 0.9))
    yield Line(
        what="a reader's first window after a restart at 10 % and at 90 % of the epoch",
        measured=f"{seconds(early)}, {seconds(late)}",
        at_scale="the same",
    )


def resume_s(simulation: Simulation, share: float, *, tries: int = 5) -> float:
    """Seconds from nothing to the pieces of the window at this share of an epoch, the least."""

    def first() -> object:
        order = simulation.order()
        return order.window(0, int(share * order.windows))

    return min(timed(first)[0] for _ in range(tries))


def ledger_lines(simulation: Simulation) -> Iterator[Line]:
    """What a stretch of steps costs in the ledger, late in an epoch.

    Raises:
        SimulationError, LedgerError: it does not prove what was trained.
    """
    order = simulation.order()
    geometry = simulation.geometry(order)
    first = int(0.9 * geometry.steps_per_epoch) // simulation.window_steps * simulation.window_steps
    books = keep_books(simulation, order, first=first, steps=_BOOKED)
    ranks, epoch_steps = simulation.workers, geometry.steps_per_epoch
    yield Line(
        what="noting a step of 1,024 rows, on each rank",
        measured=seconds(books.note_s / books.steps / ranks),
        at_scale="the same",
    )
    yield Line(
        what=f"ledger, superblocks of {geometry.superblock_steps} steps",
        measured=f"{books.file_bytes / books.steps:,.0f} bytes a step",
        at_scale=f"{size(books.file_bytes / books.steps * epoch_steps)} an epoch,"
        f" {books.file_bytes / books.rows:.2g} bytes a row",
    )
    records = 1_000 / geometry.superblock_steps * ranks
    joined_s = (books.join_s + books.write_s) / (books.steps / geometry.superblock_steps)
    yield Line(
        what="records of all ranks joined, compressed and written, for each superblock",
        measured=seconds(joined_s),
        at_scale=f"{seconds(joined_s * 1_000 / geometry.superblock_steps)} for a save each 1,000"
        f" steps ({records:,.0f} records)",
    )
    yield Line(
        what="proof of a chunk (walk: order worked out, digests compared)",
        measured=f"{books.rows / books.prove_s / 1e6:.2f} M rows/s",
        at_scale=f"{seconds(ROWS / (books.rows / books.prove_s))} an epoch on one core",
    )
    yield Line(
        what="memory of `orchestrator audit`, which counts the uses of each row of an epoch",
        measured="9 bytes a row",
        at_scale=size(9 * ROWS),
    )


def timed(call: Callable[[], T]) -> tuple[float, T]:
    """The seconds that a call takes, and what it returns."""
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result
