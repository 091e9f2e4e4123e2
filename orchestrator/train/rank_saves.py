"""Saving, as every rank goes along with it: the first one decides, and all write what they hold."""

from collections.abc import Mapping

from orchestrator.checkpoint.behind import SaveBehind
from orchestrator.train.first_rank import FirstRank
from orchestrator.train.host_memory import HostMemory
from orchestrator.train.saving import spoilt_state
from orchestrator.train.state import TrainState


class RankSaves:
    """Has the first rank save; where each rank holds a piece of the state, all of them.

    All ranks make the same calls: where the state is sharded, they agree in each.

    Args:
        first_rank: given to the first rank alone.
    """

    def __init__(self, state: TrainState, first_rank: FirstRank | None, *, relaxed: bool) -> None:
        self._state = state
        self._shards = state.shards
        self._saver = None if first_rank is None else first_rank.saver
        self._follower = None
        if first_rank is None and self._shards is not None:
            self._follower = Follower(state, relaxed=relaxed)

    @property
    def alone(self) -> bool:
        """Whether the first rank can save without the others."""
        return self._shards is None

    def check(self) -> None:
        """Raises the error of a save that has failed; does not wait for one at work."""
        if (mine := self._saver or self._follower) is not None:
            mine.check()

    def wait(self) -> None:
        """Waits until what was saved is committed, or this rank's pieces are written.

        Raises:
            CheckpointError: it cannot be saved.
        """
        if (mine := self._saver or self._follower) is not None:
            mine.wait()

    def if_due(self, *, epoch_finished: bool, metrics: Mapping[str, float]) -> None:
        """Begins to save the state if the policy says so.

        Args:
            metrics: of the validation of this very step; empty where there was none.

        Raises:
            JobFailedError: the weights are spoilt, and must not become what a restart begins with.
            CheckpointError: the one before could not be saved.
        """
        saver, state = self._saver, self._state
        if self._shards is not None:
            due = saver is not None and saver.due(
                state, epoch_finished=epoch_finished, metrics=metrics
            )
            self._together(wanted=due, metrics=metrics)
        elif saver is not None:
            saver.after_step(state, epoch_finished=epoch_finished, metrics=metrics)

    def now(self, metrics: Mapping[str, float]) -> None:
        """Begins to save the state, unless this step's was begun; raises as `if_due`."""
        if self._shards is not None:
            self._together(wanted=True, metrics=metrics)
        elif self._saver is not None:
            self._saver.save(self._state, metrics=metrics)

    def agreed(self, *, wanted: bool) -> bool:
        """What the first rank wants; without shards the others need not know of it."""
        return wanted if self._shards is None else self._shards.of_first_rank(wanted)

    def _together(self, *, wanted: bool, metrics: Mapping[str, float]) -> None:
        saver = self._saver
        if not self.agreed(wanted=wanted and saver is not None and saver.can_save(self._state)):
            return
        if saver is not None:
            saver.save(self._state, metrics=metrics)
        elif self._follower is not None:
            self._follower.save()


class Follower:
    """Writes the pieces of a rank behind the training, each time that the first rank saves."""

    def __init__(self, state: TrainState, *, relaxed: bool) -> None:
        self._state = state
        self._relaxed = relaxed
        self._behind = SaveBehind()
        self._memory = HostMemory()

    def check(self) -> None:
        """Raises the error of a save that has failed; does not wait for one at work."""
        self._behind.check()

    def wait(self) -> None:
        """Waits until this rank's pieces are written; raises CheckpointError if they cannot be."""
        self._behind.wait()

    def save(self) -> None:
        """Begins to save, as the first rank does in the same moment."""
        if (spoilt := self._state.spoilt()) is not None:
            raise spoilt_state(spoilt, self._state.step, relaxed=self._relaxed)
        self._behind.wait()
        self._behind.start(self._state.snapshot(self._memory).follow)
