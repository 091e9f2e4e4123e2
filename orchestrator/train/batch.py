"""A rank's rows as tensors on its device."""

import difflib
from collections.abc import Iterable, Mapping
from itertools import pairwise

import torch
from torch import Tensor

from orchestrator.data.codec import Column, Columns
from orchestrator.errors import JobFailedError

# Kinds of numpy type that torch has a tensor for: bool, signed, unsigned, floating, complex.
_NUMERIC = "biufc"


class MissingColumnError(KeyError):
    """A batch was asked for a column that it does not have; the text goes on from "asks for"."""

    def __str__(self) -> str:
        return str(self.args[0])


class Columnar(dict[str, Tensor]):
    """Tensors by the name of their column; a name that is not there is explained.

    `left_behind` are the columns that only numbers could not become: name to what they are.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]] = (),
        left_behind: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(tensors)
        self.left_behind = dict(left_behind or {})

    def __missing__(self, name: str) -> Tensor:
        if what := self.left_behind.get(name):
            raise MissingColumnError(
                f'column "{name}", which is there but is {what}, and only numbers become tensors'
            )
        close = difflib.get_close_matches(str(name), self, n=1)
        question = f'; did you mean "{close[0]}"?' if close else ""
        others = [f"{other} ({what})" for other, what in self.left_behind.items()]
        given = ", ".join([*self, *others])
        raise MissingColumnError(
            f'column "{name}", which the transforms do not give; they give {given}{question}'
        )


def to_tensors(columns: Columns, device: torch.device) -> Columnar:
    """The numeric columns as tensors; on the CPU they share the columns' memory.

    Such a tensor may lie in memory that other processes read, so a task must not write into it.

    Raises:
        JobFailedError: no column is numeric.
    """
    tensors = {
        name: torch.from_numpy(column).to(device, non_blocking=True)
        for name, column in columns.items()
        if column.dtype.kind in _NUMERIC
    }
    if not tensors:
        raise JobFailedError(
            f"the transforms leave no numeric column to work on; got {sorted(columns)}"
        )
    others = {name: _what(column) for name, column in columns.items() if name not in tensors}
    return Columnar(tensors, others)


def micro_batches(batch: Columnar, size: int | None) -> list[Columnar]:
    """The batch in even pieces of at most `size` rows, in order; None keeps it whole."""
    rows = len(next(iter(batch.values()), ()))
    if size is None or rows <= size:
        return [batch]
    pieces = -(-rows // size)
    cuts = [rows * number // pieces for number in range(pieces + 1)]
    return [
        Columnar(
            {name: column[start:stop] for name, column in batch.items()},
            batch.left_behind,
        )
        for start, stop in pairwise(cuts)
    ]


def _what(column: Column) -> str:
    """What a column holds that is no number, in a word."""
    match column.dtype.kind:
        case "M" | "m":
            return "a time"
        case "S":
            return "bytes"
        case "O" if isinstance(next((v for v in column if v is not None), None), bytes):
            return "bytes"
    return "text"
