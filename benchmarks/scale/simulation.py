"""A job that no machine here could run: its order, its cuts and its ledger, by the real code."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orchestrator.ledger.chain import Chunk, read_chunk
from orchestrator.ledger.chunk import ChunkFacts, dump_chunk
from orchestrator.ledger.description import Description
from orchestrator.ledger.record import Records, join_records
from orchestrator.ledger.recorder import RowRecorder
from orchestrator.ledger.replay import walk
from orchestrator.ledger.run_order import RunOrder
from orchestrator.plan.accounts import EpochOrigins
from orchestrator.plan.geometry import StreamGeometry, cut_stream
from orchestrator.plan.order import Piece, SampleOrder
from orchestrator.plan.origins import Origins

_FINGERPRINT = "simulated"


class SimulationError(Exception):
    """The order or the ledger does not hold what it promises."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """What a rank trained in a step, as the recorder wants it."""

    superblock: int
    offset: int
    origins: Origins


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """A data set of so many fragments, each a little longer or shorter, and its cuts.

    A window is `window_steps` global batches.
    """

    workers: int
    fragments: int
    fragment_rows: int
    worker_batch: int
    window_steps: int
    seed: int = 7

    @property
    def batch(self) -> int:
        return self.workers * self.worker_batch

    def order(self) -> SampleOrder:
        """The order, made anew as each reader makes it."""
        odd = np.arange(self.fragments) % 997 - 498
        return SampleOrder(
            np.maximum(self.fragment_rows + odd, 1),
            window_rows=self.window_steps * self.batch,
            seed=self.seed,
            shuffle_fragments=True,
            shuffle_rows=True,
        )

    def geometry(self, order: SampleOrder) -> StreamGeometry:
        return cut_stream(
            rows=order.rows,
            batch=self.batch,
            lanes=self.workers,
            window_rows=order.window_rows,
            window_is_order=True,
            superblock_steps=None,
            most_superblock_steps=self.window_steps,
        )


def check_steps(simulation: Simulation, order: SampleOrder, steps: list[int]) -> int:
    """Checks that the ranks' spans tile the global batch of each step, without reading any rows.

    Returns:
        the spans looked at.

    Raises:
        SimulationError: two of them overlap, or leave a gap.
    """
    geometry = simulation.geometry(order)
    for step in steps:
        at = step * geometry.batch
        for rank in range(simulation.workers):
            start, stop = geometry.rank_span(step, rank, simulation.workers)
            if start != at or stop < start:
                raise SimulationError(
                    f"step {step}, rank {rank}: begins at {start:,}, wanted {at:,}"
                )
            at = stop
        if at != step * geometry.batch + geometry.step_rows(step):
            raise SimulationError(f"step {step} ends at {at:,}")
    return len(steps) * simulation.workers


def check_epoch(order: SampleOrder, epoch: int) -> None:
    """Checks that every fragment stands exactly once in an epoch, and windows leave no gap in it.

    Raises:
        SimulationError: where it is not so.
    """
    placed, ends = order._epoch_layout(epoch)  # the whole of it: all windows are cut out of it
    if not np.array_equal(np.bincount(placed), np.ones(len(placed), dtype=np.int64)):
        raise SimulationError(f"epoch {epoch}: a fragment comes twice, or never")
    if ends[-1] != order.units or order.windows != -(-order.rows // order.window_rows):
        raise SimulationError(f"epoch {epoch} ends at {ends[-1]:,}, wanted {order.units:,}")


def check_windows(order: SampleOrder, epoch: int, numbers: list[int]) -> int:
    """Checks that each window begins where the one before it ends, in the middle of a fragment too.

    Returns:
        the rows of these windows.

    Raises:
        SimulationError: where it does not.
    """
    rows = 0
    for number in numbers:
        window = order.window(epoch, number)
        wanted = min(order.window_rows, order.rows - number * order.window_rows)
        found = sum(piece.stop - piece.start for piece in window.pieces)
        if (window.start, found) != (number * order.window_rows, wanted):
            raise SimulationError(f"window {number} has {found:,} rows, wanted {wanted:,}")
        if number + 1 < order.windows:
            _check_joint(order, window.pieces[-1], order.window(epoch, number + 1).pieces[0])
        rows += found
    return rows


def _check_joint(order: SampleOrder, last: Piece, first: Piece) -> None:
    whole = int(order._sizes[last.fragment])
    same = last.fragment == first.fragment and last.stop == first.start
    if not same and (last.stop != whole or first.start != 0):
        raise SimulationError(f"between {last} of {whole:,} rows and {first} there is a gap")


@dataclass(frozen=True, kw_only=True, slots=True)
class Books:
    """What a stretch of steps costs in the ledger."""

    steps: int
    rows: int
    raw_bytes: int
    file_bytes: int
    note_s: float
    join_s: float
    write_s: float
    prove_s: float


def keep_books(simulation: Simulation, order: SampleOrder, *, first: int, steps: int) -> Books:
    """Notes steps as all ranks would, joins their records on the first one, and proves the chunk.

    Raises:
        LedgerError: the chunk does not prove what was trained.
    """
    geometry, origins = simulation.geometry(order), EpochOrigins(order)
    recorders = [RowRecorder(rank) for rank in range(simulation.workers)]
    note_s = 0.0
    for step in range(first, first + steps):
        shares = list(_shares(simulation, geometry, origins, step))
        _check_distinct(shares, step)
        began = time.perf_counter()
        for recorder, share in zip(recorders, shares, strict=True):
            recorder.add(share, step=step)
        note_s += time.perf_counter() - began
    began = time.perf_counter()
    records = join_records([recorder.take() for recorder in recorders])
    joined = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        chunk, size = _write(Path(folder), simulation, geometry, records, first, first + steps)
        written = time.perf_counter()
        proven = _prove(simulation, order, chunk)
    if proven != steps * geometry.batch:
        raise SimulationError(f"{proven:,} rows proven, wanted {steps * geometry.batch:,}")
    return Books(
        steps=steps,
        rows=proven,
        raw_bytes=records.nbytes,
        file_bytes=size,
        note_s=note_s,
        join_s=joined - began,
        write_s=written - joined,
        prove_s=time.perf_counter() - written,
    )


def _check_distinct(shares: list[Share], step: int) -> None:
    rows = np.sort(np.concatenate([share.origins.rows for share in shares]))
    if (rows[1:] == rows[:-1]).any():
        raise SimulationError(f"step {step} has a row twice")


def _shares(
    simulation: Simulation, geometry: StreamGeometry, origins: EpochOrigins, step: int
) -> Iterator[Share]:
    cursor = geometry.cursor(step)
    superblock = geometry.superblock(geometry.superblock_of(cursor))
    first = cursor.step * geometry.batch
    whole = origins.between(cursor.epoch, first, first + geometry.batch)
    for rank in range(simulation.workers):
        start, stop = geometry.rank_span(cursor.step, rank, simulation.workers)
        yield Share(
            superblock=superblock.number,
            offset=cursor.step - superblock.first_step,
            origins=whole.take(slice(start - first, stop - first)),
        )


def _write(
    folder: Path,
    simulation: Simulation,
    geometry: StreamGeometry,
    records: Records,
    first: int,
    last: int,
) -> tuple[Chunk, int]:
    facts = ChunkFacts(
        attempt=1,
        workers=simulation.workers,
        geometry=geometry,
        order="strict",
        order_fingerprint=_FINGERPRINT,
    )
    data = dump_chunk(records, facts, first_step=first, last_step=last, parent=None)
    path = folder / f"step-{last:09d}-001.chunk"
    path.write_bytes(data)
    return read_chunk(folder, path.name), len(data)


def _prove(simulation: Simulation, order: SampleOrder, chunk: Chunk) -> int:
    """The rows of the chunk, each step worked out from the order and held against its digests."""
    description = Description(
        files=(),
        fragments=(),
        batch=simulation.batch,
        total_steps=1,
        window_rows=order.window_rows,
        seed=simulation.seed,
        shuffle_fragments=True,
        shuffle_rows=True,
        mixture=None,
        packing=None,
        fingerprint=_FINGERPRINT,
        parts={},
    )
    run = RunOrder(description=description, order=order, fragment_units=order._sizes, accounts=None)
    return sum(len(share) for step in walk(run, chunk) for share in step.shares)
