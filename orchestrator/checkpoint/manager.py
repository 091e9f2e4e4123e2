"""Saves a checkpoint when it is due, then deletes those no longer wanted."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.checkpoint.files import storage_errors
from orchestrator.checkpoint.manifest import CheckpointInfo, ChunkReference, Manifest
from orchestrator.checkpoint.policy import SaveMoment, SavePolicy
from orchestrator.checkpoint.retention import RetentionPolicy
from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.errors import CheckpointError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneResult:
    """What pruning deleted, and for each name it stumbled over, why."""

    deleted: tuple[str, ...]
    failed: Mapping[str, str]


class CheckpointManager:
    """The checkpoints of one attempt, written by one process."""

    def __init__(
        self,
        store: CheckpointStore,
        *,
        save_policy: SavePolicy,
        retention: RetentionPolicy,
        attempt: int,
        fence: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._save_policy = save_policy
        self._retention = retention
        self._attempt = attempt
        self._fence = fence
        self._clock = clock
        self._saved_at = clock()
        self._saved_step: int | None = None

    def due(
        self,
        *,
        step: int,
        epoch_finished: bool,
        epochs_finished: int,
        last: bool,
        in_flight: bool = False,
    ) -> bool:
        """Whether to save now; never twice for one step.

        Args:
            in_flight: whether a save is still at work. A time that is up then waits for its end,
                where a step that is to be saved does not.
        """
        moment = SaveMoment(
            step=step,
            epoch_finished=epoch_finished,
            epochs_finished=epochs_finished,
            seconds_since_save=0.0 if in_flight else self._clock() - self._saved_at,
            last=last,
        )
        return step != self._saved_step and self._save_policy.should_save(moment)

    def save(
        self,
        write: Callable[[Path], None],
        *,
        step: int,
        cursor: Mapping[str, int],
        metrics: Mapping[str, float],
        order_fingerprint: str,
        parts: Mapping[str, str],
        versions: Mapping[str, str],
        ledger: ChunkReference | None = None,
    ) -> Manifest:
        """Writes and commits a checkpoint, then prunes.

        Args:
            write: Writes the files into the directory it is given; need not sync them.
            ledger: The chunk of the ledger that ends with this step.

        Raises:
            CheckpointError: It could not be saved, or this attempt has been superseded; earlier
                checkpoints are as they were.
        """
        began = self._clock()
        directory = self._store.stage(step, self._attempt)
        manifest = Manifest(
            name=directory.name,
            attempt=self._attempt,
            step=step,
            cursor=dict(cursor),
            metrics={name: float(value) for name, value in metrics.items()},
            order_fingerprint=order_fingerprint,
            parts=dict(parts),
            versions=dict(versions),
            ledger=ledger,
        )
        try:
            with storage_errors("write a checkpoint into", directory):
                write(directory)
            committed = self._store.commit(directory, manifest, fence=self._fence)
        except BaseException:  # raised again; only the space of half a checkpoint is freed
            # When the disk is full, the next save needs it.
            self._try_discard(directory)
            raise
        # From its beginning: what it holds was trained by then, and no more.
        self._saved_at, self._saved_step = began, step
        self.prune()
        return committed

    def prune(self) -> PruneResult:
        """Deletes the checkpoints that retention does not keep, once the newest verifies.

        Raises:
            CheckpointError: This attempt has been superseded; nothing was deleted.
        """
        checkpoints = self._store.committed()
        kept = self._retention.keep(checkpoints)
        unwanted = [info for info in checkpoints[1:] if info.name not in kept]
        if not unwanted:
            return PruneResult(deleted=(), failed={})
        if problem := self._problem(self._store.verify, checkpoints[0]):
            return PruneResult(deleted=(), failed={checkpoints[0].name: problem})
        # A superseded attempt must not delete the checkpoint its successor is about to read.
        self._fence()
        problems = {info.name: self._problem(self._store.delete, info) for info in unwanted}
        return PruneResult(
            deleted=tuple(name for name, problem in problems.items() if problem is None),
            failed={name: problem for name, problem in problems.items() if problem is not None},
        )

    def _problem(
        self, action: Callable[[CheckpointInfo], None], info: CheckpointInfo
    ) -> str | None:
        try:
            action(info)
        except CheckpointError as error:
            _log.warning("pruning checkpoints: %s", error)
            return str(error)
        return None

    def _try_discard(self, directory: Path) -> None:
        try:
            self._store.discard(directory)
        except CheckpointError as error:
            _log.warning("after a failed save: %s", error)
