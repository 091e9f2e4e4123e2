"""Records held against the order: which rows each of them stands for, and whether it can be so."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from orchestrator.errors import LedgerError
from orchestrator.ledger.chain import Chunk
from orchestrator.ledger.chunk import ChunkHeader
from orchestrator.ledger.record import Records, digest_of
from orchestrator.ledger.run_order import RunOrder
from orchestrator.plan.geometry import StreamGeometry
from orchestrator.plan.origins import Origins

# Samples of a chunk in relaxed order whose origins are held at a time.
_PREPARED = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record as plain values; see `ledger.record.RECORD`."""

    rank: int
    offset: int
    step: int
    superblock: int
    rows: int
    steps: int
    digest: bytes

    @property
    def steps_text(self) -> str:
        return steps_text(self.step, self.step + self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedStep:
    """What a step of the run was made of: each rank's share, in the order of the ranks.

    `skipped` is true where it was left out, and not trained.
    """

    step: int
    epoch: int
    shares: tuple[Origins, ...]
    skipped: bool = False


class Replay:
    """What the records of one chunk must be, by the run's order."""

    def __init__(self, run: RunOrder, header: ChunkHeader) -> None:
        self._run = run
        self._header = header
        self._superblock_origins = lru_cache(maxsize=2)(self._of_superblock)
        self._prepared: dict[int, Origins] = {}

    @property
    def geometry(self) -> StreamGeometry:
        return self._header.geometry

    def misfit(self) -> str | None:
        """Why the chunk cannot belong to this order; None where it can."""
        geometry, description = self.geometry, self._run.description
        if self._header.order_fingerprint != description.fingerprint:
            return "was written under another order"
        if (geometry.rows, geometry.batch) != (self._run.order.rows, description.batch):
            return (
                f"has {geometry.rows:,} samples an epoch in batches of {geometry.batch:,}, but the"
                f" order {self._run.order.rows:,} in batches of {description.batch:,}"
            )
        # A window that is the whole epoch may be rounded up, to hold superblocks of any size.
        window = min(geometry.window_steps * geometry.batch, geometry.rows)
        wanted = min(description.window_rows, geometry.rows)
        if description.shuffle_rows and window != wanted:
            return f"has windows of {window:,} samples, but the order {wanted:,}"
        if self._header.workers > geometry.lanes:
            return f"has {self._header.workers} workers for {geometry.lanes} lanes"
        return None

    def misplaced(self, record: Record) -> str | None:
        """Why a record cannot be where it says; None where it can."""
        header, geometry = self._header, self.geometry
        if not 0 <= record.rank < header.workers:
            return f"there is no rank {record.rank} of {header.workers}"
        if record.step < header.first_step or record.step + record.steps > header.last_step:
            return "they are not among the steps of this chunk"
        superblock = geometry.superblock(record.superblock)
        if min(record.offset, record.superblock) < 0 or not (
            1 <= record.steps <= superblock.steps - record.offset
        ):
            return f"superblock {record.superblock} has no such batches"
        first = geometry.cursor(record.step)
        last = geometry.cursor(record.step + record.steps - 1)
        if not first.epoch == superblock.epoch == last.epoch:
            return f"superblock {record.superblock} belongs to epoch {superblock.epoch + 1}"
        if header.order == "strict" and superblock.first_step + record.offset != first.step:
            return (
                f"their rows are those of steps"
                f" {self.place(record) + 1} to {self.place(record) + record.steps}"
            )
        return None

    def place(self, record: Record) -> int:
        """The step of the run that the record's first batch is by the order, counted from 0."""
        superblock = self.geometry.superblock(record.superblock)
        first = superblock.epoch * self.geometry.steps_per_epoch + superblock.first_step
        return first + record.offset

    def shares(self, record: Record) -> list[Origins]:
        """What the rank of a well-placed record must have trained in each of its steps."""
        first = self.place(record)
        return [self.share(step, record.rank) for step in range(first, first + record.steps)]

    def share(self, place: int, rank: int) -> Origins:
        """A rank's share of the batch that is step `place` of the run by the order."""
        cursor = self.geometry.cursor(place)
        number = self.geometry.superblock_of(cursor)
        start, stop = self.geometry.rank_span(cursor.step, rank, self._header.workers)
        first = self.geometry.superblock(number).first_step * self.geometry.batch
        origins = self._prepared.get(number)
        if origins is None:
            origins = self._superblock_origins(number)
        return origins.take(slice(start - first, stop - first))

    def prepare(self, records: list[Record]) -> None:
        """Works out what some records stand for, window after window, in the place of what was."""
        numbers = {r.superblock for r in records if self.misplaced(r) is None}
        self._prepared = {number: self._of_superblock(number) for number in sorted(numbers)}

    def contradiction(self, record: Record, shares: list[Origins]) -> str | None:
        """Why the rank cannot have trained these; None where it did."""
        rows = sum(map(len, shares))
        if record.rows != rows:
            return f"{record.rows:,} samples were trained instead of {rows:,}"
        if record.digest != digest_of(shares):
            return f"other rows were trained than the {rows:,} that belong there"
        return None

    def _of_superblock(self, number: int) -> Origins:
        superblock, batch = self.geometry.superblock(number), self.geometry.batch
        first = superblock.first_step * batch
        return self._run.origins.between(superblock.epoch, first, first + superblock.steps * batch)


def plain_records(records: Records) -> list[Record]:
    """The records as plain values, in the order of their steps."""
    names = ("rank", "offset", "step", "superblock", "rows", "steps")
    columns = zip(*(records[name].tolist() for name in names), strict=True)
    digests = (value.tobytes() for value in records["digest"])
    plain = [
        Record(**dict(zip(names, values, strict=True)), digest=digest)
        for values, digest in zip(columns, digests, strict=True)
    ]
    return sorted(plain, key=lambda record: (record.step, record.rank))


def walk(run: RunOrder, chunk: Chunk) -> Iterator[TrainedStep]:
    """The steps of a chunk, one after another, each proven.

    Raises:
        LedgerError: the chunk does not say what the order says.
    """
    header = chunk.header
    replay = Replay(run, header)
    if (why := replay.misfit()) is not None:
        raise _unproven(chunk, why)
    records = plain_records(chunk.records())
    ranks = [
        _of_rank(replay, chunk, [record for record in records if record.rank == rank])
        for rank in range(header.workers)
    ]
    stretch = max(1, _PREPARED // header.geometry.batch)
    for step in range(header.first_step, header.last_step):
        # In relaxed order windows take turns, and would be worked out again at each.
        if header.order == "relaxed" and (step - header.first_step) % stretch == 0:
            replay.prepare([r for r in records if step <= r.step < step + stretch])
        places, shares = zip(*(next(rank, (-1, None)) for rank in ranks), strict=True)
        if None in shares or len(set(places)) > 1:
            raise _unproven(chunk, f"does not have step {step + 1} whole")
        yield TrainedStep(
            step=step,
            epoch=replay.geometry.cursor(step).epoch,
            shares=shares,
            skipped=step in header.skipped,
        )
    strangers = [record for record in records if not 0 <= record.rank < header.workers]
    if strangers or any(next(rank, None) is not None for rank in ranks):
        raise _unproven(chunk, "has more records than steps")


def _of_rank(replay: Replay, chunk: Chunk, records: list[Record]) -> Iterator[tuple[int, Origins]]:
    """The steps of a rank: which one each is by the order, and what was trained."""
    expected = chunk.header.first_step
    for record in records:
        if record.step != expected:
            raise _unproven(chunk, f"has another step of rank {record.rank} than {expected + 1}")
        why, shares = replay.misplaced(record), []
        if why is None:
            shares = replay.shares(record)
            why = replay.contradiction(record, shares)
        if why is not None:
            raise _unproven(chunk, f"says of {record.steps_text}, rank {record.rank}: {why}")
        yield from enumerate(shares, start=replay.place(record))
        expected += record.steps


def _unproven(chunk: Chunk, why: str) -> LedgerError:
    return LedgerError(
        f"{chunk.shown} {why}", hint="orchestrator audit RUN names all that is wrong"
    )


def steps_text(start: int, stop: int) -> str:
    """The steps [start, stop) in words, counted from 1 as everywhere a person sees them."""
    return f"step {stop:,}" if stop - start == 1 else f"steps {start + 1:,} to {stop:,}"
