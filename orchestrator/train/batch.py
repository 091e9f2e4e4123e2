"""A rank's rows as tensors on its device."""

from itertools import pairwise

import torch
from torch import Tensor

from orchestrator.data.codec import Columns
from orchestrator.errors import JobFailedError

# Kinds of numpy type that torch has a tensor for: bool, signed, unsigned, floating, complex.
_NUMERIC = "biufc"


def to_tensors(columns: Columns, device: torch.device) -> dict[str, Tensor]:
    """The numeric columns as tensors; on the CPU they share the columns' memory.

    Such a tensor may lie in memory that other processes read, so a task must not write into it.
    """
    return {
        name: torch.from_numpy(column).to(device, non_blocking=True)
        for name, column in columns.items()
        if column.dtype.kind in _NUMERIC
    }


def numeric_tensors(columns: Columns, device: torch.device) -> dict[str, Tensor]:
    """The same, where there has to be one.

    Raises:
        JobFailedError: no column is numeric.
    """
    if tensors := to_tensors(columns, device):
        return tensors
    raise JobFailedError(
        f"the transforms leave no numeric column to work on; got {sorted(columns)}"
    )


def micro_batches(batch: dict[str, Tensor], size: int | None) -> list[dict[str, Tensor]]:
    """The batch in even pieces of at most `size` rows, in order; None keeps it whole."""
    rows = len(next(iter(batch.values()), ()))
    if size is None or rows <= size:
        return [batch]
    pieces = -(-rows // size)
    cuts = [rows * number // pieces for number in range(pieces + 1)]
    return [
        {name: column[start:stop] for name, column in batch.items()}
        for start, stop in pairwise(cuts)
    ]
