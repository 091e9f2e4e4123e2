"""Which steps of a chunk have a record of each rank, once."""

from collections.abc import Iterator
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from orchestrator.ledger.chain import Chunk
from orchestrator.ledger.problem import Problem
from orchestrator.ledger.replay import Record, Replay, steps_text

Batches = NDArray[np.int64]

# Steps of a gap whose rows are looked up.
_LOOKED_UP = 100


class Presence:
    """Which steps of a chunk have a record of each rank, and of which batches."""

    def __init__(self, chunk: Chunk, replay: Replay) -> None:
        self.chunk = chunk
        self._replay = replay
        header = chunk.header
        shape = (header.workers, header.last_step - header.first_step)
        self._times = np.zeros(shape, dtype=np.int32)
        self._places = np.full(shape, -1, dtype=np.int64)

    def add(self, record: Record) -> None:
        """Notes a well-placed record."""
        first = record.step - self.chunk.header.first_step
        steps = slice(first, first + record.steps)
        self._times[record.rank, steps] += 1
        self._places[record.rank, steps] = self._replay.place(record) + np.arange(record.steps)

    def batches(self) -> Batches:
        """Which step each step is by the order, int64 [steps]; -1 where no rank says it."""
        known: Batches = self._places.max(axis=0)
        return known

    def problems(self) -> Iterator[Problem]:
        """The steps that lack a rank, have it twice, or whose ranks disagree about the batch."""
        for rank, times in enumerate(self._times):
            for start, stop in _stretches(times == 0):
                rows = tuple(self._rows(rank, start, stop))
                yield self._problem(start, stop, f"rank {rank} has no record", rows=rows)
            for start, stop in _stretches(times > 1):
                yield self._problem(start, stop, f"rank {rank} has several records")
        known = np.where(self._places < 0, self.batches(), self._places)
        for start, stop in _stretches(known.max(axis=0) != known.min(axis=0)):
            yield self._problem(start, stop, "the ranks trained different batches")

    def _rows(self, rank: int, start: int, stop: int) -> Iterator[int]:
        """The rows that a rank must have trained; by what the other ranks say, or by the order."""
        strict = self.chunk.header.order == "strict"
        for step in range(start, min(stop, start + _LOOKED_UP)):
            place = int(self._places[:, step].max())
            if place < 0 and strict:
                place = self.chunk.header.first_step + step
            if place >= 0:
                yield from self._replay.share(place, rank).rows.tolist()

    def _problem(self, start: int, stop: int, what: str, rows: tuple[int, ...] = ()) -> Problem:
        first = self.chunk.header.first_step
        steps = (first + start, first + stop)
        return Problem(
            message=f"{steps_text(*steps)}: {what} ({self.chunk.shown})", steps=steps, rows=rows
        )


class Repeats:
    """The batches of the epochs that are open: each of them is trained once, whatever the order."""

    def __init__(self, steps_per_epoch: int) -> None:
        self._steps_per_epoch = steps_per_epoch
        self._trained: dict[int, NDArray[np.bool_]] = {}

    def add(self, batches: Batches, chunk: Chunk) -> Iterator[Problem]:
        """Takes the batches of one more chunk, and names the steps whose batch had been trained."""
        again = np.zeros(len(batches), dtype=np.bool_)
        for step, place in enumerate(batches.tolist()):
            if place >= 0:
                epoch, number = divmod(place, self._steps_per_epoch)
                trained = self._of_epoch(epoch)
                again[step], trained[number] = trained[number], True
        for start, stop in _stretches(again):
            first = chunk.header.first_step
            steps = (first + start, first + stop)
            what = "batches that their epoch had before"
            yield Problem(message=f"{steps_text(*steps)}: {what} ({chunk.shown})", steps=steps)

    def forget(self, epoch: int) -> None:
        """Ends an epoch."""
        self._trained.pop(epoch, None)

    def _of_epoch(self, epoch: int) -> NDArray[np.bool_]:
        if epoch not in self._trained:
            self._trained[epoch] = np.zeros(self._steps_per_epoch, dtype=np.bool_)
        return self._trained[epoch]


def _stretches(which: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """The stretches [start, stop) in which something holds."""
    for _, group in groupby(enumerate(np.flatnonzero(which).tolist()), lambda p: p[1] - p[0]):
        places = [place for _, place in group]
        yield places[0], places[-1] + 1
