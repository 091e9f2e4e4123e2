"""How often each unit of a data set was used in an epoch, counted from what was trained."""

import numpy as np
from numpy.typing import NDArray

from orchestrator.ledger.run_order import RunOrder
from orchestrator.plan.origins import SPAN, Origins, Rows


class Coverage:
    """The uses of an epoch's units: of rows, or of what transforms make of them."""

    def __init__(self, run: RunOrder) -> None:
        self._accounts = run.accounts
        # One longer: spans are counted by where they begin and where they end.
        self._uses = np.zeros(run.order.units + 1, dtype=np.int32)

    def add(self, origins: Origins) -> None:
        """Counts samples that were trained."""
        accounts = self._accounts
        if accounts is None:
            np.add.at(self._uses, origins.rows, 1)
        elif origins.spans is None:
            units = accounts.ends[origins.rows] - accounts.counts[origins.rows]
            np.add.at(self._uses, units if origins.parts is None else units + origins.parts, 1)
        else:
            spans = np.frombuffer(b"".join(origins.spans.tolist()), dtype=SPAN)
            before = accounts.ends[spans["row"]] - accounts.counts[spans["row"]]
            np.add.at(self._uses, before + spans["start"], 1)
            np.add.at(self._uses, before + spans["stop"], -1)

    @property
    def uses(self) -> NDArray[np.int32]:
        """The uses of each unit, int32 [units]."""
        if self._accounts is not None and self._accounts.packed:
            return np.cumsum(self._uses[:-1], dtype=np.int32)
        return self._uses[:-1]

    def rows(self, wanted: NDArray[np.bool_]) -> Rows:
        """The rows that have a unit for which `wanted` [units] holds, ascending."""
        units = np.flatnonzero(wanted)
        if self._accounts is None:
            return units
        return np.unique(np.searchsorted(self._accounts.ends, units, side="right"))


def wanted_uses(run: RunOrder, epoch: int) -> NDArray[np.int32]:
    """How often each unit must be used in a whole epoch, int32 [units].

    Once, as long as there is one source: that needs no look at the order.
    """
    if run.description.mixture is None:
        return np.ones(run.order.units, dtype=np.int32)
    wanted = Coverage(run)
    add_positions(wanted, run, epoch, run.order.rows)
    return wanted.uses


def add_positions(coverage: Coverage, run: RunOrder, epoch: int, stop: int) -> None:
    """Counts the samples at positions [0, stop) of an epoch, never more than a window at a time."""
    size, stop = run.order.window_rows, min(stop, run.order.rows)
    for start in range(0, stop, size):
        coverage.add(run.origins.between(epoch, start, min(start + size, stop)))
