"""The passes over each of several sources that are mixed: each has each row of its source once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.ledger.problem import Problem
from orchestrator.ledger.run_order import RunOrder
from orchestrator.plan.mixture import MixedOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceAccount:
    """How far a source is at the end of the last finished epoch: passes, and samples of the next.

    `least` and `most` are how often any of its samples was trained.
    """

    name: str
    passes: int
    rest: int
    least: int
    most: int

    @property
    def exact(self) -> bool:
        return self.passes <= self.least and self.most <= self.passes + (self.rest > 0)


class Passes:
    """Adds up the uses of finished epochs."""

    def __init__(self, run: RunOrder) -> None:
        self._run = run
        self._uses = np.zeros(run.order.units, dtype=np.int64)
        self._epochs = 0

    def add(self, uses: NDArray[np.int32]) -> None:
        """Takes the uses of one more epoch."""
        self._uses += uses
        self._epochs += 1

    def accounts(self) -> tuple[SourceAccount, ...]:
        """The sources, in the order of the index; none before an epoch is finished."""
        order, mixture = self._run.order, self._run.description.mixture
        if not isinstance(order, MixedOrder) or mixture is None or not self._epochs:
            return ()
        ends = np.concatenate([[0], np.cumsum(self._run.fragment_units)])
        found = []
        for source, progress in zip(
            mixture.sources, order.progress(self._epochs * order.rows), strict=True
        ):
            uses = self._uses[ends[source.start] : ends[source.stop]]
            found.append(
                SourceAccount(
                    name=source.name,
                    passes=progress.passes,
                    rest=progress.rest,
                    least=int(uses.min()),
                    most=int(uses.max()),
                )
            )
        return tuple(found)

    def problems(self) -> Iterator[Problem]:
        """The sources whose rows do not come once a pass."""
        for source in self.accounts():
            if not source.exact:
                yield Problem(
                    message=f"source {source.name}: after {source.passes} passes its samples were"
                    f" trained {source.least} to {source.most} times"
                )
