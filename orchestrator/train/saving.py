"""When the first rank saves, behind the training, and what goes in besides the state."""

import math
import platform
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray
import torch

from orchestrator.checkpoint.attempts import AttemptLog
from orchestrator.checkpoint.behind import SaveBehind
from orchestrator.checkpoint.manager import CheckpointManager
from orchestrator.checkpoint.policy import save_policy
from orchestrator.checkpoint.retention import retention_policy
from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.data.fitted import PREPROCESSING_FILE, FittedState, dump_states
from orchestrator.errors import JobFailedError, NotFiniteError
from orchestrator.ledger.record import Records
from orchestrator.ledger.writer import LedgerWriter
from orchestrator.plan.job import JobPlan
from orchestrator.train.host_memory import HostMemory
from orchestrator.train.recorder import NOT_FINITE_HINT, Recorder
from orchestrator.train.state import Snapshot, TrainState
from orchestrator.version import __version__


class Saver:
    """Saves when the policy says so, and whenever a validation is one of the best so far.

    A save holds the training up for a copy to host memory; the files are written behind it, one
    save at a time. A time that is up while one is at work waits for its end; any other save that is
    due holds the training until then, as it belongs to its very step. An error of a save is raised
    by whichever call comes next. One thread makes all the calls.

    Args:
        ledger: where the run keeps one: `hold` has to be called before each save.
        store: by default that of the run.
    """

    def __init__(
        self,
        plan: JobPlan,
        run_dir: Path,
        *,
        attempt: int,
        recorder: Recorder,
        fitted: tuple[FittedState, ...] = (),
        ledger: LedgerWriter | None = None,
        store: CheckpointStore | None = None,
    ) -> None:
        spec = plan.spec.checkpoint
        store = store or CheckpointStore(run_dir / "checkpoints")
        self._plan = plan
        self._fitted = fitted
        self._recorder = recorder
        self._ledger = ledger
        self._manager = CheckpointManager(
            store,
            save_policy=save_policy(spec.every),
            retention=retention_policy(spec),
            attempt=attempt,
            fence=AttemptLog(run_dir / "attempts").fence(attempt),
        )
        self._committed = store.committed
        self._behind = SaveBehind()
        self._memory = HostMemory()
        # Of the save that was begun last, whether it is committed yet or not.
        self._saved_step: int | None = None
        self._saved_metrics: Mapping[str, float] = {}

    def overdue(self, step: int) -> bool:
        """Whether the time for a save is up after this step, which need not end an epoch."""
        return self._manager.due(
            step=step,
            epoch_finished=False,
            epochs_finished=0,
            last=False,
            in_flight=self._behind.busy,
        )

    def check(self) -> None:
        """Raises the error of a save that has failed; does not wait for one at work."""
        self._behind.check()

    def wait(self) -> None:
        """Waits until what was saved is committed.

        Raises:
            CheckpointError: it cannot be saved.
        """
        self._behind.wait()

    def close(self) -> None:
        """Waits likewise, but only logs an error."""
        self._behind.close()

    def hold(self, of_ranks: Iterable[Records]) -> None:
        """Takes what the ranks have trained since the last call, for the next checkpoint."""
        if self._ledger is not None:
            self._ledger.hold(of_ranks)

    def skipped(self, step: int) -> None:
        """Notes that a step, counted from 0, was left out."""
        if self._ledger is not None:
            self._ledger.skipped(step)

    def due(self, state: TrainState, *, epoch_finished: bool, metrics: Mapping[str, float]) -> bool:
        """Whether the state after a finished step is to be saved.

        Args:
            metrics: of the validation of this very step; empty where there was none.
        """
        improved = self._improves(metrics)
        due = self._manager.due(
            step=state.step,
            epoch_finished=epoch_finished,
            epochs_finished=self._plan.train.geometry.cursor(state.step).epoch,
            last=state.step == self._plan.total_steps,
            in_flight=self._behind.busy,
        )
        return due or improved

    def after_step(
        self, state: TrainState, *, epoch_finished: bool, metrics: Mapping[str, float]
    ) -> None:
        """Begins to save the state after a finished step if it is due; raises as `save`."""
        if self.due(state, epoch_finished=epoch_finished, metrics=metrics):
            self.save(state, metrics=metrics)

    def can_save(self, state: TrainState) -> bool:
        """Whether `save` would begin something: the step's is not begun, its loss is a number."""
        return state.step != self._saved_step and state.loss_is_finite()

    def save(self, state: TrainState, *, metrics: Mapping[str, float]) -> bool:
        """Begins to save the state, if this step's is not yet; returns whether a checkpoint has it.

        A state whose loss is not finite is left for the next report to refuse: that one can name
        the rows, for which it needs the other ranks.

        Raises:
            JobFailedError: the weights are spoilt, and must not become what a restart begins with.
            CheckpointError: the one before could not be saved.
        """
        if state.step == self._saved_step:
            return True
        began = time.monotonic()
        if not state.loss_is_finite():
            return False
        if (spoilt := state.spoilt()) is not None:
            raise spoilt_state(spoilt, state.step, relaxed=self._plan.train.relaxed)
        # One at a time: the next snapshot goes into the memory of the one before.
        self._behind.wait()
        snapshot = state.snapshot(self._memory)
        if self._ledger is not None:
            # The rows of this step and of those before; the next steps' belong to the next save.
            self._ledger.seal()
        held_s = time.monotonic() - began
        self._behind.start(
            partial(self._commit, snapshot, metrics=dict(metrics), began=began, held_s=held_s)
        )
        self._saved_step, self._saved_metrics = state.step, dict(metrics)
        return True

    def _commit(
        self, snapshot: Snapshot, *, metrics: Mapping[str, float], began: float, held_s: float
    ) -> None:
        """Writes and commits what was saved, in the thread behind the training."""
        try:
            self._commit_snapshot(snapshot, metrics=metrics, began=began, held_s=held_s)
        finally:
            snapshot.close()

    def _commit_snapshot(
        self, snapshot: Snapshot, *, metrics: Mapping[str, float], began: float, held_s: float
    ) -> None:
        step = snapshot.step
        cursor = self._plan.train.geometry.cursor(step)
        manifest = self._manager.save(
            partial(self._write_files, snapshot),
            step=step,
            cursor={"epoch": cursor.epoch, "step": cursor.step},
            metrics=metrics,
            order_fingerprint=self._plan.fingerprint.digest,
            parts=self._plan.fingerprint.parts,
            versions=versions(),
            # Before the checkpoint, which is not to name what is not there.
            ledger=self._ledger.write_sealed(step) if self._ledger else None,
        )
        self._recorder.checkpoint(
            name=manifest.name,
            step=step,
            size=manifest.size,
            seconds=time.monotonic() - began,
            held_s=held_s,
        )

    def _write_files(self, snapshot: Snapshot, directory: Path) -> None:
        """Everything that a checkpoint holds besides its manifest."""
        snapshot.write(directory)
        if self._fitted:
            (directory / PREPROCESSING_FILE).write_text(dump_states(self._fitted))

    def _improves(self, metrics: Mapping[str, float]) -> bool:
        best = self._plan.spec.checkpoint.best
        if best is None or not metrics:
            return False
        if best.metric not in metrics:
            raise JobFailedError(
                f"checkpoint.best.metric is {best.metric!r}, but a validation gives"
                f" {', '.join(sorted(metrics))}"
            )
        value = metrics[best.metric]
        if not math.isfinite(value):
            return False
        of_steps = {
            info.manifest.step: info.manifest.metrics.get(best.metric, math.nan)
            for info in self._committed()
        }
        if self._saved_step is not None:
            # It may not be committed yet.
            of_steps[self._saved_step] = self._saved_metrics.get(best.metric, math.nan)
        finite = (found for found in of_steps.values() if math.isfinite(found))
        ranked = sorted(finite, reverse=best.mode == "max")
        if len(ranked) < best.keep:
            return True
        last = ranked[best.keep - 1]
        return value > last if best.mode == "max" else value < last


def spoilt_state(what: str, step: int, *, relaxed: bool) -> NotFiniteError:
    """The error of a state that is not saved, as something in it is not finite after a step."""
    return NotFiniteError(
        f"{what} is not finite after step {step}; it is not saved",
        hint=NOT_FINITE_HINT,
        # In relaxed order the step's number does not say which one it was.
        place=None if relaxed else step - 1,
    )


def versions() -> dict[str, str]:
    """The versions that a checkpoint was written under."""
    return {
        "orchestrator": __version__,
        "python": platform.python_version(),
        "ray": ray.__version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "pyarrow": pa.__version__,
    }
