"""A rank notes what it has trained, a record for each stretch of a superblock."""

import hashlib
from dataclasses import dataclass

import numpy as np

from orchestrator.ledger.record import RECORD
from orchestrator.ledger.recorder import RowRecorder
from orchestrator.plan.origins import Origins


@dataclass(frozen=True)
class Batch:
    superblock: int
    offset: int
    origins: Origins


def batch(superblock: int, offset: int, *rows: int) -> Batch:
    return Batch(superblock, offset, Origins(rows=np.array(rows, dtype=np.int64)))


def test_a_superblock_is_one_record_and_a_digest_of_its_rows_in_order() -> None:
    recorder = RowRecorder(3)
    recorder.add(batch(7, 0, 5, 6), step=20)
    recorder.add(batch(7, 1, 9), step=21)
    recorder.add(batch(8, 0, 1), step=22)
    first, second = recorder.take()
    fields = ("rank", "superblock", "offset", "step", "steps", "rows")
    assert [first[name] for name in fields] == [3, 7, 0, 20, 2, 3]
    assert [second[name] for name in fields] == [3, 8, 0, 22, 1, 1]
    rows = np.array([5, 6, 9], dtype="<i8").tobytes()
    assert first["digest"].tobytes() == hashlib.blake2b(rows, digest_size=8).digest()


def test_after_a_save_in_the_middle_of_a_superblock_the_rest_is_another_record() -> None:
    recorder = RowRecorder(0)
    recorder.add(batch(7, 0, 5), step=20)
    assert recorder.take()["offset"].tolist() == [0]
    recorder.add(batch(7, 1, 6), step=21)
    (rest,) = recorder.take()
    assert (rest["offset"], rest["step"], rest["rows"]) == (1, 21, 1)


def test_a_rank_without_rows_in_a_step_notes_the_step() -> None:
    recorder = RowRecorder(1)
    recorder.add(batch(7, 0, 5), step=0)
    recorder.add(batch(7, 1), step=1)
    (record,) = recorder.take()
    assert (record["steps"], record["rows"]) == (2, 1)


def test_nothing_trained_is_nothing_noted() -> None:
    taken = RowRecorder(0).take()
    assert (len(taken), taken.dtype) == (0, RECORD)
