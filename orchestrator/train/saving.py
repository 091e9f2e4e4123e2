"""When the first rank saves, and what goes into a checkpoint besides the state."""

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
from orchestrator.checkpoint.manager import CheckpointManager
from orchestrator.checkpoint.policy import (
    AnyOfRetention,
    BestN,
    LatestN,
    RetentionPolicy,
    save_policy,
)
from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.data.fitted import PREPROCESSING_FILE, FittedState, dump_states
from orchestrator.errors import JobFailedError
from orchestrator.ledger.record import Records
from orchestrator.ledger.writer import LedgerWriter
from orchestrator.plan.job import JobPlan
from orchestrator.train.recorder import NOT_FINITE_HINT, Recorder
from orchestrator.train.state import TrainState
from orchestrator.version import __version__


class Saver:
    """Saves when the policy says so, and whenever a validation is one of the best so far.

    Args:
        ledger: where the run keeps one: `hold` has to be called before each save.
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
    ) -> None:
        spec = plan.spec.checkpoint
        store = CheckpointStore(run_dir / "checkpoints")
        rules: list[RetentionPolicy] = [LatestN(spec.keep_latest)]
        if spec.best is not None:
            best = spec.best
            rules.append(BestN(metric=best.metric, mode=best.mode, count=best.keep))
        self._plan = plan
        self._fitted = fitted
        self._recorder = recorder
        self._ledger = ledger
        self._manager = CheckpointManager(
            store,
            save_policy=save_policy(spec.every),
            retention=AnyOfRetention(tuple(rules)),
            attempt=attempt,
            fence=AttemptLog(run_dir / "attempts").fence(attempt),
        )
        self._committed = store.committed
        self._saved_step: int | None = None

    def overdue(self, step: int) -> bool:
        """Whether the time for a save is up after this step, which need not end an epoch."""
        return self._manager.due(step=step, epoch_finished=False, epochs_finished=0, last=False)

    def hold(self, of_ranks: Iterable[Records]) -> None:
        """Takes what the ranks have trained since the last call, for the next checkpoint."""
        if self._ledger is not None:
            self._ledger.hold(of_ranks)

    def after_step(
        self, state: TrainState, *, epoch_finished: bool, metrics: Mapping[str, float]
    ) -> None:
        """Saves the state after a finished step if it is time.

        Args:
            metrics: of the validation of this very step; empty where there was none.

        Raises:
            JobFailedError: the weights are spoilt, and must not become what a restart begins with.
            CheckpointError: it cannot be saved.
        """
        improved = self._improves(metrics)
        due = self._manager.due(
            step=state.step,
            epoch_finished=epoch_finished,
            epochs_finished=self._plan.train.geometry.cursor(state.step).epoch,
            last=state.step == self._plan.total_steps,
        )
        if due or improved:
            self.save(state, metrics=metrics)

    def save(self, state: TrainState, *, metrics: Mapping[str, float]) -> bool:
        """Saves the state, if this step's is not saved yet; returns whether a checkpoint has it.

        A state whose loss is not finite is left for the next report to refuse: that one can name
        the rows, for which it needs the other ranks.

        Raises:
            JobFailedError: the weights are spoilt, and must not become what a restart begins with.
            CheckpointError: it cannot be saved.
        """
        if state.step == self._saved_step:
            return True
        if not state.loss_is_finite():
            return False
        if (spoilt := state.spoilt()) is not None:
            raise JobFailedError(
                f"{spoilt} is not finite after step {state.step}; it is not saved",
                hint=NOT_FINITE_HINT,
            )
        began = time.monotonic()
        cursor = self._plan.train.geometry.cursor(state.step)
        manifest = self._manager.save(
            partial(self._write_files, state),
            step=state.step,
            cursor={"epoch": cursor.epoch, "step": cursor.step},
            metrics=metrics,
            order_fingerprint=self._plan.fingerprint.digest,
            parts=self._plan.fingerprint.parts,
            versions=versions(),
            # Before the checkpoint, which is not to name what is not there.
            ledger=self._ledger.write(state.step) if self._ledger else None,
        )
        self._saved_step = state.step
        self._recorder.checkpoint(
            name=manifest.name,
            step=state.step,
            size=manifest.size,
            seconds=time.monotonic() - began,
        )
        return True

    def _write_files(self, state: TrainState, directory: Path) -> None:
        """Everything that a checkpoint holds besides its manifest."""
        state.write(directory)
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
        ranking = BestN(metric=best.metric, mode=best.mode)
        ranked = [info.manifest.metrics[best.metric] for info in ranking.ranked(self._committed())]
        if not math.isfinite(value) or len(ranked) < best.keep:
            return math.isfinite(value)
        last = ranked[best.keep - 1]
        return value > last if best.mode == "max" else value < last


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
