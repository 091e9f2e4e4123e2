"""The first rank's side of the ledger: it brings what all ranks trained into files."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from orchestrator.checkpoint.manifest import ChunkReference
from orchestrator.errors import CheckpointError
from orchestrator.ledger.chunk import ChunkFacts, dump_chunk
from orchestrator.ledger.files import ledger_dir, write_whole
from orchestrator.ledger.record import Records, join_records


class LedgerWriter:
    """Collects records, and writes them as a chunk just before a checkpoint names it.

    Args:
        parent: the chunk that the attempt's checkpoint names, None at the start of a ledger.
        first_step: steps of the whole run that were done when the attempt began.
        fence: raises CheckpointError when the attempt has been superseded.
        strict_from: the step from which on the order of `facts` holds. Those before are relaxed:
            what was left of an epoch that was begun so.
    """

    def __init__(
        self,
        run_dir: Path,
        facts: ChunkFacts,
        *,
        parent: ChunkReference | None,
        first_step: int,
        fence: Callable[[], None],
        strict_from: int = 0,
    ) -> None:
        self._folder = ledger_dir(run_dir)
        self._facts = facts
        self._parent = parent
        self._first_step = first_step
        self._fence = fence
        self._strict_from = strict_from
        self._pending: list[Records] = []
        self._skipped: list[int] = []
        self._sealed: list[Records] = []
        self._sealed_skips: list[int] = []

    def hold(self, of_ranks: Iterable[Records]) -> None:
        """Takes the records of all ranks, until they are written."""
        self._pending += of_ranks

    def skipped(self, step: int) -> None:
        """Notes that a step, counted from 0, whose records are held too, was left out."""
        self._skipped.append(step)

    def write(self, step: int) -> ChunkReference:
        """Writes what has been taken, all steps up to `step`; what the checkpoint has to name.

        Raises:
            CheckpointError: it cannot be written, or the attempt has been superseded.
        """
        self.seal()
        return self.write_sealed(step)

    def seal(self) -> None:
        """Parts what has been taken from what will be, for `write_sealed`; not while that works."""
        self._sealed += self._pending
        self._sealed_skips += self._skipped
        self._pending, self._skipped = [], []

    def write_sealed(self, step: int) -> ChunkReference:
        """Writes what has been sealed, as `write` does; another thread may `hold` meanwhile."""
        records = join_records(self._sealed)
        # The checkpoint failed that should have named it, or the attempt began with this step.
        if self._parent is not None and step == self._first_step and not len(records):
            return self._parent
        if self._first_step < self._strict_from < step:
            before = records["step"] < self._strict_from
            self._write(self._strict_from, records[before], rest=[records[~before]])
            records = records[~before]
        return self._write(step, records, rest=[])

    def _write(self, step: int, records: Records, *, rest: list[Records]) -> ChunkReference:
        relaxed = self._first_step < self._strict_from
        data = dump_chunk(
            records,
            replace(self._facts, order="relaxed") if relaxed else self._facts,
            first_step=self._first_step,
            last_step=step,
            parent=self._parent,
            skipped=tuple(number for number in self._sealed_skips if number < step),
        )
        reference = ChunkReference.of(step, self._facts.attempt, hashlib.sha256(data).hexdigest())
        path = self._folder / reference.name
        self._fence()
        if path.exists():
            raise CheckpointError(f"cannot write {path}: it is there already")
        write_whole(path, data)
        # Should the checkpoint fail after all, the next chunk follows this one all the same.
        self._parent, self._first_step, self._sealed = reference, step, rest
        self._sealed_skips = [number for number in self._sealed_skips if number >= step]
        return reference
