"""Sums over rows and ranks, from which every reported mean is made."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from orchestrator.errors import JobFailedError


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """Sums of named values over `rows` rows, float64 [names + 1]; the last entry counts rows."""

    names: tuple[str, ...]
    sums: Tensor

    def plus(self, other: "Totals") -> "Totals":
        """The sums over the rows of both."""
        if self.names != other.names:
            raise JobFailedError(
                f"the task returned metrics {other.names} after {self.names}; the same names are"
                " wanted for every batch"
            )
        return Totals(names=self.names, sums=self.sums + other.sums)

    def over_ranks(self) -> "Totals":
        """The sums over the rows of all ranks; every rank has to call it."""
        return self.over_ranks_with(0.0)[0]

    def over_ranks_with(self, number: float) -> tuple["Totals", Tensor]:
        """The same, and the sum of a number of each rank; both stay on the device."""
        sums = torch.cat([self.sums, self.sums.new_full((1,), number)])
        if dist.is_initialized() and dist.get_world_size() > 1:
            dist.all_reduce(sums)
        return Totals(names=self.names, sums=sums[:-1].clone()), sums[-1]

    @property
    def rows(self) -> int:
        return round(float(self.sums[-1]))

    def means(self) -> dict[str, float]:
        """The mean of each value; waits for the device."""
        values = self.sums.tolist()
        return {
            name: value / max(1.0, values[-1])
            for name, value in zip(self.names, values[:-1], strict=True)
        }


def check_same_names(names: tuple[str, ...]) -> None:
    """Compares the names of metrics over all ranks, before sums of different things are added.

    Raises:
        JobFailedError: they differ.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    of_ranks: list[tuple[str, ...]] = [()] * dist.get_world_size()
    dist.all_gather_object(of_ranks, names)
    for rank, others in enumerate(of_ranks):
        if others != of_ranks[0]:
            raise JobFailedError(
                f"the task returned metrics {', '.join(others)} on worker {rank}, but"
                f" {', '.join(of_ranks[0])} on worker 0; the same names are wanted everywhere"
            )


def row_totals(values: Mapping[str, Tensor], *, rows: int, counted: bool) -> Totals:
    """The totals of per-row values [rows]; a scalar stands for the mean over the rows.

    Args:
        counted: False for stand-ins: everything counts zero, but the names are known.

    Raises:
        JobFailedError: a value has another shape, or is no tensor.
    """
    if not isinstance(values, Mapping):
        raise JobFailedError(
            f"the task's metrics are of type {type(values).__name__}; wanted a mapping from names"
        )
    names = tuple(sorted(values))
    entries = []
    for name in names:
        if not isinstance(values[name], Tensor):
            raise JobFailedError(
                f"the task returned {name!r} of type {type(values[name]).__name__}; wanted a tensor"
                f" of one value a row, [{rows}], or a scalar mean"
            )
        value = values[name].detach().to(torch.float64)
        if value.ndim == 0:
            value = value * rows
        elif value.shape != (rows,):
            raise JobFailedError(
                f"the task returned {name!r} of shape {list(value.shape)} for {rows} rows;"
                f" wanted one value a row, [{rows}], or a scalar mean"
            )
        entries.append(value.sum())
    first = entries[0] if entries else torch.zeros((), dtype=torch.float64)
    sums = torch.stack([*entries, torch.full_like(first, rows)])
    return Totals(names=names, sums=sums if counted else torch.zeros_like(sums))


def plain_numbers(values: object, *, source: str) -> dict[str, float]:
    """Named numbers as floats.

    Args:
        source: who gave them, for the message.

    Raises:
        JobFailedError: they are something else.
    """
    if not isinstance(values, Mapping):
        raise JobFailedError(
            f"{source} gave a value of type {type(values).__name__}; wanted a mapping from names"
            " to numbers"
        )
    return {str(name): _number(name, value, source) for name, value in values.items()}


def _number(name: object, value: object, source: str) -> float:
    # Tensors and arrays of a single number, as metrics are often computed.
    single: object = value
    if isinstance(value, Tensor | np.ndarray | np.generic):
        shape = list(value.shape)
        if shape not in ([], [1]):
            raise JobFailedError(f"{source} gave {name!r} of shape {shape}; wanted a single number")
        single = value.item()
    if isinstance(single, bool) or not isinstance(single, int | float):
        raise JobFailedError(
            f"{source} gave {name!r} of type {type(single).__name__}; wanted a number"
        )
    return float(single)
