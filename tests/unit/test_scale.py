"""A small version of what docs/scale.md simulates: the order and the ledger of many ranks."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.scale import simulation as sim
from benchmarks.scale.simulation import Simulation, SimulationError
from orchestrator.plan.order import SampleOrder

# Fragments that end in the middle of windows, and an epoch whose last step is short.
SMALL = Simulation(workers=50, fragments=300, fragment_rows=700, worker_batch=8, window_steps=8)
LONG = Simulation(
    workers=1_000, fragments=100_000, fragment_rows=10**7, worker_batch=1_024, window_steps=8
)


@pytest.mark.parametrize("simulation", [SMALL, LONG], ids=["small", "10^12 rows"])
def test_the_spans_of_all_ranks_tile_each_step_and_windows_the_epoch(
    simulation: Simulation,
) -> None:
    order = simulation.order()
    last = simulation.geometry(order).steps_per_epoch - 1
    assert sim.check_steps(simulation, order, [0, last // 3, last]) == 3 * simulation.workers
    for epoch in (0, 5):
        sim.check_epoch(order, epoch)
        numbers = np.linspace(0, order.windows - 1, 40).astype(int).tolist()
        assert sim.check_windows(order, epoch, numbers) > 39 * order.window_rows


def test_the_windows_of_a_whole_epoch_have_each_row_once() -> None:
    order = SMALL.order()
    assert sim.check_windows(order, 1, list(range(order.windows))) == order.rows


def test_a_gap_between_two_windows_is_found() -> None:
    class Lossy(SampleOrder):
        def pieces_between(self, epoch: int, start: int, stop: int):  # type: ignore[no-untyped-def]
            first, *rest = super().pieces_between(epoch, start, stop)
            return (replace(first, start=first.start + 1, stop=first.stop + 1), *rest)

    order = Lossy(np.full(100, 1_000), window_rows=300, seed=0, shuffle_fragments=True,
                  shuffle_rows=True)  # fmt: skip
    with pytest.raises(SimulationError, match="there is a gap"):
        sim.check_windows(order, 0, list(range(order.windows)))


def test_the_ledger_of_many_ranks_proves_its_steps_late_in_an_epoch() -> None:
    order = SMALL.order()
    first = SMALL.geometry(order).steps_per_epoch - 20
    first -= first % SMALL.window_steps
    books = sim.keep_books(SMALL, order, first=first, steps=16)
    assert books.rows == 16 * SMALL.batch
    # A record for each rank and superblock, of 44 bytes.
    assert books.raw_bytes == 2 * SMALL.workers * 44
