"""Which batches are left out, because a rewind has told so."""

from collections.abc import Collection

from orchestrator.data.feed import LocalBatch
from orchestrator.errors import NotFiniteError
from orchestrator.plan.geometry import StreamGeometry
from orchestrator.train.recorder import NOT_FINITE_HINT
from orchestrator.train.state import TrainState


class Skips:
    """The steps to leave out, by their place in the order, which is the same in each attempt.

    Args:
        places: counted from 0 through all epochs.
    """

    def __init__(self, places: Collection[int], geometry: StreamGeometry) -> None:
        self._places = frozenset(places)
        self._geometry = geometry
        self._last: int | None = None

    def place(self, batch: LocalBatch) -> int:
        """The step that a batch is by the order, in which it need not be trained."""
        superblock = self._geometry.superblock(batch.superblock)
        first = superblock.epoch * self._geometry.steps_per_epoch + superblock.first_step
        return first + batch.offset

    def trained(self, place: int) -> None:
        """Notes the step that was trained last."""
        self._last = place

    def leave_out(self, batch: LocalBatch, state: TrainState) -> bool:
        """Whether a batch is to be left out; looks then whether that will help.

        Raises:
            NotFiniteError: the weights are spoilt already. Then the step before did it, whose own
                loss was still a number, and this one need not be left out.
        """
        place = self.place(batch)
        if place not in self._places:
            return False
        if (spoilt := state.spoilt()) is not None:
            raise NotFiniteError(
                f"{spoilt} is not finite after step {state.step}, whose own loss was a number",
                hint=NOT_FINITE_HINT,
                place=self._last,
                frees=place,
            )
        return True
