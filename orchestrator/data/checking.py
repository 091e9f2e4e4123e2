"""The pass that looks for bad rows: every row is read and goes through every transform once."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from orchestrator.data.blame import UserCodeError
from orchestrator.data.fitted import FittedState
from orchestrator.data.passes import found_block, run_pass
from orchestrator.data.quarantine_file import BadRow
from orchestrator.data.row_changes import Units, units_of
from orchestrator.data.sieve import ReadRows, sieve_of
from orchestrator.data.transforms import apply_all, bind_transforms
from orchestrator.errors import DataError
from orchestrator.plan.fitted import measured_windows
from orchestrator.plan.origins import Counts, Rows
from orchestrator.plan.quarantine import QUARANTINED
from orchestrator.plan.stream import StreamPlan

# Bytes of the source that the transforms get at once. A function of the data alone, so that every
# try of a row sees it among the same others.
_CALL_BYTES = 2 << 20
_LEAST_CALL_ROWS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckTask:
    """What a worker of the pass needs to know; `windows` are the fragments of each call."""

    stream: StreamPlan
    windows: tuple[range, ...]
    root: Path
    fitted: tuple[FittedState, ...]


class CheckStage:
    """Reads windows in the order of the files, counts and finds bad rows; one in each worker."""

    def __init__(self, task: CheckTask) -> None:
        stream, counting = task.stream, task.stream.counting
        sieve = sieve_of(stream, task.root)
        # Nobody looks for bad rows who would not quarantine them.
        assert counting is not None
        assert sieve is not None
        numbers = range(len(stream.transforms))
        bound = bind_transforms(stream, numbers, root=task.root, fitted=task.fitted)
        self._counted, self._others = bound[: counting.transforms], bound[counting.transforms :]
        self._counting = counting
        self._windows = task.windows
        self._index = stream.index
        self._call_rows = max(_LEAST_CALL_ROWS, int(_CALL_BYTES / (self._index.bytes_per_row or 1)))
        self._sieve = sieve

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> Iterator[pa.Table]:
        """Numbers of windows to the counts of their rows and the bad ones among them."""
        for number in batch["id"]:
            found: list[bytes] = []
            for fragment in self._windows[number]:
                counts, bad = self.of(fragment)
                listed = json.dumps([asdict(row) for row in bad])
                found += [counts.astype("<i4").tobytes(), listed.encode()]
            yield found_block(int(number), found)

    def of(self, fragment: int) -> tuple[Counts, list[BadRow]]:
        """What each row of a fragment gives, and those that are bad.

        Raises:
            DataError: no row is to blame alone, or too many are.
            OSError: the storage failed, and went on failing.
        """
        first = int(self._index.fragment_starts[fragment])
        size = int(self._index.fragment_rows[fragment])
        counts = np.full(size, QUARANTINED, dtype=np.int32)
        read = self._sieve.read(fragment)
        for start in range(0, len(read.rows), self._call_rows):
            rows = read.rows[start : start + self._call_rows]
            good, given = self._sieve.try_out(partial(self._tried, read), rows)
            if given is not None:
                counts[good - first] = given
        return counts, self._sieve.told(first + np.flatnonzero(counts == QUARANTINED))

    def _tried(self, read: ReadRows, rows: Rows) -> Counts:
        """How many units the rows give, after all transforms have been applied to them."""
        units = units_of(self._counted, read.taken(rows), rows)
        if self._others and len(next(iter(units.columns.values()), ())):
            self._try_others(units, rows)
        return units.counts

    def _try_others(self, units: Units, rows: Rows) -> None:
        total = int(units.counts.sum())
        origins = self._counting.accounts(units.counts).of_units(np.arange(total))
        try:
            # As in the first epoch, where they draw random numbers.
            apply_all(
                self._others, units.columns, replace(origins, rows=rows[origins.rows]), epoch=0
            )
        except UserCodeError as error:
            # Of samples; the rows that they were made of are all that were given.
            error.start, error.stop = 0, len(rows)
            raise


def check_rows(
    stream: StreamPlan, *, root: Path, fitted: tuple[FittedState, ...]
) -> tuple[Counts, list[BadRow]]:
    """How many units each row gives, int32 [rows], `QUARANTINED` for bad ones, and these.

    Args:
        fitted: the states of the fitted transforms.

    Raises:
        DataError: no row is to blame alone, or a worker found more bad rows than there may be.
        ray.exceptions.RayError: the pass failed.
    """
    windows = tuple(measured_windows(stream.index))
    task = CheckTask(stream=stream, windows=windows, root=root, fitted=fitted)
    reading, *_ = stream.stages
    uses = [spec.use for spec in stream.transforms]
    found = run_pass(CheckStage, task, windows=len(windows), stage=reading, uses=uses)
    return joined(found, rows=stream.index.rows)


def joined(found: list[bytes], *, rows: int) -> tuple[Counts, list[BadRow]]:
    """What the workers found, fragment after fragment, put together.

    Raises:
        DataError: it is not of all rows.
    """
    counts = np.frombuffer(b"".join(found[::2]), dtype="<i4").astype(np.int32)
    bad = [BadRow(**row) for listed in found[1::2] for row in json.loads(listed)]
    marked = np.flatnonzero(counts == QUARANTINED).tolist()
    if len(counts) != rows or [row.row for row in bad] != marked:
        raise DataError(
            f"{len(counts)} rows were looked at, of which {len(marked)} are bad and {len(bad)} are"
            f" listed, but there are {rows}"
        )
    return counts, bad
