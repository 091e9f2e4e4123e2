"""The driver: carries out a plan, one attempt after another, until it is done or given up."""

import math
import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import JsonValue
from ray.exceptions import RayError
from ray.train import TrainingFailedError
from rich.console import Console

from orchestrator.checkpoint.attempts import Attempt
from orchestrator.checkpoint.manifest import CheckpointInfo
from orchestrator.errors import JobFailedError, OrchestratorError
from orchestrator.jsonl import JsonLinesWriter
from orchestrator.plan.job import JobPlan
from orchestrator.report.follow import Follower
from orchestrator.report.progress import ProgressDisplay
from orchestrator.report.summary import RunSummary
from orchestrator.run.changes import check_unchanged
from orchestrator.run.directory import RunDirectory, open_run
from orchestrator.run.export import export_model
from orchestrator.run.failure import Failure, GiveUp, decide, describe_failure
from orchestrator.run.fit import fit
from orchestrator.run.interrupt import Interrupts
from orchestrator.run.lock import run_lock
from orchestrator.run.planning import plan_job
from orchestrator.run.preprocessing import Preprocessing
from orchestrator.run.reap import reap, recorded_session
from orchestrator.run.result import summarise_run
from orchestrator.run.session import ray_session
from orchestrator.run.starvation import StarvationWatch, find_shortage
from orchestrator.run.watch import AttemptWatch
from orchestrator.spec.job import JobSpec
from orchestrator.train.stop import StopRequested


def run_job(spec: JobSpec, *, console: Console | None = None) -> RunSummary:
    """Trains a job to its end, resuming it where it has been run before.

    Raises:
        OrchestratorError: of the kind that says what went wrong; the run can be resumed.
    """
    plan = plan_job(spec)
    return execute(plan, open_run(plan), console=console or Console())


def execute(
    plan: JobPlan, directory: RunDirectory, *, console: Console, log_to_driver: bool = False
) -> RunSummary:
    """Carries out a plan; where that has been done before, nothing is left to do.

    Args:
        console: where the progress is shown.
        log_to_driver: whether to print what Ray and the workers print, to this process's output.
    """
    per_epoch = plan.train.geometry.steps_per_epoch
    display = ProgressDisplay(
        console,
        total_steps=plan.total_steps,
        steps_per_epoch=per_epoch,
        epochs=math.ceil(plan.total_steps / per_epoch),
    )
    # Made before the driver looks at the checkpoints: what it sets aside then is shown too.
    follower = Follower(directory.path, display)
    status = "already finished"
    with run_lock(directory.path), JsonLinesWriter(directory.events) as events:
        driver = Driver(plan, directory, events)
        if driver.steps_done() < plan.total_steps:
            directory.describe(plan)
            interrupts = Interrupts(at_once=lambda: _end_at_once(directory.path, console))
            with interrupts.handled(), display, follower:
                display.phase("starting Ray")
                session = ray_session(
                    plan.spec.runtime,
                    plan.resources.capacity,
                    run_dir=directory.path,
                    log_to_driver=log_to_driver,
                )
                with session:
                    # Again: Ray has taken SIGTERM.
                    interrupts.install()
                    driver.train(interrupts, say=display.phase)
            status = "finished"
        driver.finish()
    return summarise_run(plan, directory, status=status)


def _end_at_once(run_dir: Path, console: Console) -> None:
    """Ends the processes of a run that nobody waits for, and gives the terminal its cursor back."""
    if (session := recorded_session(run_dir)) is not None:
        reap(session, grace_s=0.0)
    console.show_cursor()


class Driver:
    """Runs attempts until the last step is in a checkpoint.

    Ray's own retries are off: an attempt is one `fit()`, so that what was tried, from where and how
    often is ours to keep, and survives this process (docs/adr/0001).
    """

    def __init__(self, plan: JobPlan, directory: RunDirectory, events: JsonLinesWriter) -> None:
        self._plan = plan
        self._directory = directory
        self._events = events
        self._preprocessing = Preprocessing(plan, directory, events)

    def steps_done(self) -> int:
        """Steps of the run that its newest valid checkpoint holds."""
        return _steps_of(self._newest())

    def train(self, interrupts: Interrupts, *, say: Callable[[str], None]) -> None:
        """Trains to the end.

        Args:
            say: shows the user what is being waited for.

        Raises:
            KeyboardInterrupt: the user wants an end before there was anything to save.
            OrchestratorError: an attempt failed in a way that another would not mend, or the
                budget is spent.
        """
        number = max((a.driver for a in self._directory.attempts.all()), default=0) + 1
        failures: list[Failure] = []
        while True:
            attempt = self._begin(number, failures)
            try:
                watch = self._watch(attempt, interrupts, say)
                with interrupts.noted():
                    fitted = self._preprocessing.of(attempt, check=watch.check)
                    fit(self._plan, self._directory, attempt, fitted, check=watch.check)
            except (TrainingFailedError, RayError) as error:
                failure = describe_failure(error, step=attempt.step)
                if isinstance(failure.cause, StopRequested):
                    raise failure.cause from error
                failures.append(failure)
                self._tell("attempt-failed", attempt.number, reason=failure.reason)
                self._end_or_go_on(failures, error)
            except OrchestratorError as error:  # what this process itself has found
                self._tell("attempt-failed", attempt.number, reason=str(error).partition("\n")[0])
                raise
            else:
                self._tell("finished", attempt.number, step=self._plan.total_steps)
                return

    def _watch(
        self, attempt: Attempt, interrupts: Interrupts, say: Callable[[str], None]
    ) -> AttemptWatch:
        starvation = StarvationWatch(
            lambda: find_shortage(self._plan),
            lambda cause: self._tell("starved", attempt.number, cause=cause),
            limit_s=self._plan.spec.failure.starvation_timeout,
        )
        return AttemptWatch(self._directory, attempt.number, interrupts, starvation, say=say)

    def finish(self) -> None:
        """Exports the final weights; does nothing where that was done."""
        newest = self._newest()
        if newest is None or _steps_of(newest) < self._plan.total_steps:
            raise JobFailedError("training ended without a checkpoint of its last step")
        export_model(newest, self._directory.model)

    def _begin(self, driver: int, failures: Sequence[Failure]) -> Attempt:
        """Chooses where to begin, and records it before anything of the attempt runs."""
        log, store = self._directory.attempts, self._directory.checkpoints
        while True:
            newest = self._newest()
            attempt = Attempt(
                number=log.newest() + 1,
                parent=newest.manifest.attempt if newest else None,
                step=_steps_of(newest),
                checkpoint=newest.name if newest else None,
                checkpoint_digest=newest.manifest.digest if newest else None,
                workers=self._plan.workers,
                driver=driver,
                reason=failures[-1].reason if failures else "started",
                host=socket.gethostname(),
                pid=os.getpid(),
                started_at=time.time(),
            )
            log.begin(attempt)
            # From here on no earlier attempt may commit; had one done so since the choice was made,
            # that newer checkpoint would be lost from the line of parents: choose again.
            after = next(iter(store.committed()), None)
            if (after and after.name) == attempt.checkpoint:
                break
        store.remove_uncommitted(before_attempt=attempt.number)
        self._tell(
            "attempt-started",
            attempt.number,
            workers=attempt.workers,
            from_checkpoint=attempt.checkpoint,
            step=attempt.step,
        )
        return attempt

    def _end_or_go_on(self, failures: Sequence[Failure], error: Exception) -> None:
        budget = self._plan.spec.failure.worker_restarts
        decision = decide(failures, worker_restarts=budget)
        if isinstance(decision, GiveUp):
            raise failures[-1].cause or JobFailedError(
                f"training failed: {decision.why}",
                hint=f"what the workers printed is in {self._directory.logs}",
            ) from error

    def _newest(self) -> CheckpointInfo | None:
        """The newest checkpoint that verifies, if it belongs to the order of this plan."""
        newest, set_aside = self._directory.checkpoints.newest_valid()
        for damaged in set_aside:
            self._tell("checkpoint-set-aside", None, name=damaged.name, reason=damaged.reason)
        if newest is None:
            return None
        check_unchanged(newest.manifest.parts, self._plan)
        return newest

    def _tell(self, event: str, attempt: int | None, **fields: JsonValue) -> None:
        self._events.write({"time": time.time(), "event": event, "attempt": attempt, **fields})


def _steps_of(checkpoint: CheckpointInfo | None) -> int:
    return checkpoint.manifest.step if checkpoint else 0
