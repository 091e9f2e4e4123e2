"""The driver: carries out a plan, one attempt after another, until it is done or given up."""

import math
import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from pydantic import JsonValue
from ray.exceptions import RayError
from ray.train import TrainingFailedError
from rich.console import Console
from rich.text import Text

from orchestrator.checkpoint.attempts import Attempt
from orchestrator.checkpoint.manifest import CheckpointInfo
from orchestrator.errors import JobFailedError, OrchestratorError
from orchestrator.jsonl import JsonLinesWriter, read_json_lines
from orchestrator.plan.job import JobPlan
from orchestrator.report.follow import Follower
from orchestrator.report.progress import ProgressDisplay
from orchestrator.report.records import parse_events
from orchestrator.report.status import last_word
from orchestrator.report.summary import RunSummary
from orchestrator.run.aside import set_aside
from orchestrator.run.changes import check_unchanged
from orchestrator.run.describe import describe_run
from orchestrator.run.directory import RunDirectory, open_run
from orchestrator.run.ending import ending_recorded
from orchestrator.run.export import export_model
from orchestrator.run.failure import Failure, GiveUp, decide, describe_failure
from orchestrator.run.fit import fit
from orchestrator.run.lease import Lease, hold_lease
from orchestrator.run.planning import plan_job
from orchestrator.run.preprocessing import Preprocessing
from orchestrator.run.result import summarise_run
from orchestrator.run.session import ray_session
from orchestrator.spec.job import JobSpec


def run_job(spec: JobSpec, *, console: Console | None = None, fresh: bool = False) -> RunSummary:
    """Trains a job to its end, resuming it where it has been run before.

    Args:
        fresh: start over instead; the run of the same name is kept under another one.

    Raises:
        OrchestratorError: of the kind that says what went wrong; the run can be resumed.
    """
    console = console or Console()
    plan = plan_job(spec)
    if fresh:
        set_aside(plan.run_dir, say=teller(console))
    return execute(plan, open_run(plan), console=console)


def execute(
    plan: JobPlan, directory: RunDirectory, *, console: Console, log_to_driver: bool = False
) -> RunSummary:
    """Carries out a plan; where that has been done before, nothing is left to do.

    Args:
        console: where the progress is shown.
        log_to_driver: whether to print what Ray and the workers print, to this process's output.
    """
    say = teller(console)
    display = _display(plan, console)
    # Made before the driver looks at the checkpoints: what it sets aside then is shown too.
    follower = Follower(directory.path, display)
    with (
        hold_lease(directory.path, say=say) as lease,
        JsonLinesWriter(directory.events) as events,
    ):
        driver = Driver(plan, directory, events, lease)
        done = driver.steps_done() >= plan.total_steps
        if done:
            say(f"the run {plan.spec.name} is already finished; --fresh starts it over")
        else:
            describe_run(plan, directory)
        with ending_recorded(events, directory.attempts, lease):
            if not done:
                with display, follower:
                    display.phase("starting Ray")
                    with _session(plan, directory, log_to_driver=log_to_driver):
                        driver.train()
            driver.finish()
    return summarise_run(directory)


def teller(console: Console) -> Callable[[str], None]:
    """Prints lines as they are: no text of ours or of a user's is markup."""
    return lambda text: console.print(Text(text), soft_wrap=True)


def _display(plan: JobPlan, console: Console) -> ProgressDisplay:
    per_epoch = plan.train.geometry.steps_per_epoch
    return ProgressDisplay(
        console,
        total_steps=plan.total_steps,
        steps_per_epoch=per_epoch,
        epochs=math.ceil(plan.total_steps / per_epoch),
    )


def _session(
    plan: JobPlan, directory: RunDirectory, *, log_to_driver: bool
) -> AbstractContextManager[None]:
    return ray_session(
        plan.spec.runtime,
        plan.resources.capacity,
        run_dir=directory.path,
        log_to_driver=log_to_driver,
    )


class Driver:
    """Runs attempts until the last step is in a checkpoint.

    Ray's own retries are off: an attempt is one `fit()`, so that what was tried, from where and how
    often is ours to keep, and survives this process (docs/adr/0001).
    """

    def __init__(
        self, plan: JobPlan, directory: RunDirectory, events: JsonLinesWriter, lease: Lease
    ) -> None:
        self._plan = plan
        self._directory = directory
        self._events = events
        self._lease = lease
        self._preprocessing = Preprocessing(plan, directory, events)

    def steps_done(self) -> int:
        """Steps of the run that its newest valid checkpoint holds."""
        return _steps_of(self._newest())

    def train(self) -> None:
        """Trains to the end.

        Raises:
            OrchestratorError: an attempt failed in a way that another would not mend, or the
                budget is spent.
        """
        number = max((a.driver for a in self._directory.attempts.all()), default=0) + 1
        failures: list[Failure] = []
        while True:
            attempt = self._begin(number, failures)
            try:
                fitted = self._preprocessing.of(attempt)
                fit(self._plan, self._directory, attempt, fitted)
            except (TrainingFailedError, RayError) as error:
                # Of a run that is another driver's by now, the failures are no news.
                self._lease.check()
                failure = describe_failure(error, step=attempt.step)
                failures.append(failure)
                self._tell("attempt-failed", attempt.number, reason=failure.reason)
                self._end_or_go_on(failures, error)
            except OrchestratorError as error:  # what this process itself has found
                self._tell("attempt-failed", attempt.number, reason=str(error).partition("\n")[0])
                raise
            else:
                self._tell("finished", attempt.number, step=self._plan.total_steps)
                return

    def finish(self) -> None:
        """Exports the final weights, where that was not done, and has the last word on the run."""
        self._lease.check()
        newest = self._newest()
        if newest is None or _steps_of(newest) < self._plan.total_steps:
            raise JobFailedError("training ended without a checkpoint of its last step")
        export_model(newest, self._directory.model)
        # It is missing where an earlier driver was killed, or failed to export.
        if last_word(parse_events(read_json_lines(self._directory.events))) != "finished":
            self._tell("finished", newest.manifest.attempt, step=self._plan.total_steps)

    def _begin(self, driver: int, failures: Sequence[Failure]) -> Attempt:
        """Chooses where to begin, and records it before anything of the attempt runs."""
        log, store = self._directory.attempts, self._directory.checkpoints
        self._lease.check()
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
