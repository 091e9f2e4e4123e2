"""A rank's side of the ledger: it notes what has been trained, never what was only fetched."""

import hashlib
from typing import Protocol

import numpy as np

from orchestrator.ledger.record import DIGEST_BYTES, RECORD, Records
from orchestrator.plan.origins import Origins


class Trained(Protocol):
    """A rank's share of a global batch, as `data.feed.LocalBatch` is."""

    @property
    def superblock(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def origins(self) -> Origins: ...


class RowRecorder:
    """Notes the batches of one rank, a record for each stretch of a superblock."""

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._closed: list[tuple[object, ...]] = []
        self._steps = 0
        self._rows = 0
        # Of the record that is open: where it began, and what it has seen so far.
        self._step = self._superblock = self._offset = 0
        self._digest = hashlib.blake2b(digest_size=DIGEST_BYTES)

    def add(self, batch: Trained, *, step: int) -> None:
        """Notes a batch that has been trained.

        Args:
            step: steps of the whole run before it.
        """
        if not self._continues(batch, step):
            self._close()
            self._step, self._superblock, self._offset = step, batch.superblock, batch.offset
        self._steps += 1
        self._rows += len(batch.origins)
        self._digest.update(batch.origins.evidence())

    def take(self) -> Records:
        """The records since the last call; what follows begins a new one."""
        self._close()
        taken, self._closed = self._closed, []
        return np.array(taken, dtype=RECORD)

    def _continues(self, batch: Trained, step: int) -> bool:
        """Whether the batch is the next one of the open record."""
        wanted = (self._superblock, self._offset + self._steps, self._step + self._steps)
        return self._steps > 0 and (batch.superblock, batch.offset, step) == wanted

    def _close(self) -> None:
        if self._steps:
            place = (self._rank, self._offset, self._step, self._superblock)
            self._closed.append((*place, self._rows, self._steps, self._digest.digest()))
        self._steps = self._rows = 0
        self._digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
