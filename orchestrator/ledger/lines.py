"""Samples as lines of a table: a line for each sample, or for each span of a packed one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.plan.origins import SPAN, Origins, Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Columns of equal length; `part` is 0 where rows have no parts, None what does not apply."""

    row: Rows
    part: NDArray[np.int32]
    start: NDArray[np.int32] | None = None
    stop: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.row)


def lines_of(origins: Origins) -> Lines:
    """The lines of some samples, in their order."""
    if origins.spans is None:
        part = np.zeros(len(origins), dtype=np.int32) if origins.parts is None else origins.parts
        return Lines(row=origins.rows, part=part)
    spans = np.frombuffer(b"".join(origins.spans.tolist()), dtype=SPAN)
    return Lines(
        row=spans["row"].astype(np.int64),
        part=np.zeros(len(spans), dtype=np.int32),
        start=spans["start"],
        stop=spans["stop"],
    )
