"""The driver: carries out a plan, one attempt after another, until it is done or given up."""

import os
import socket
import time
from collections.abc import Callable
from functools import partial

from pydantic import JsonValue
from ray.exceptions import RayError
from ray.train import TrainingFailedError

from orchestrator.checkpoint.attempts import Attempt
from orchestrator.checkpoint.manifest import CheckpointInfo
from orchestrator.data.fitted import FittedState
from orchestrator.errors import JobFailedError, OrchestratorError
from orchestrator.jsonl import JsonLinesWriter, read_json_lines
from orchestrator.plan.job import JobPlan
from orchestrator.report.records import parse_events
from orchestrator.report.status import last_word
from orchestrator.run.attempt_scaling import RescaleError
from orchestrator.run.changes import check_strategy, check_unchanged
from orchestrator.run.counting import count_plan
from orchestrator.run.describe import write_plan
from orchestrator.run.directory import RunDirectory
from orchestrator.run.export import export_model
from orchestrator.run.failure import describe_failure
from orchestrator.run.fit import fit
from orchestrator.run.hang_watch import open_hang_watch
from orchestrator.run.interrupt import Interrupts
from orchestrator.run.lease import Lease
from orchestrator.run.measuring import CostProbe
from orchestrator.run.node_loss import NodeLosses
from orchestrator.run.other_versions import other_versions
from orchestrator.run.preprocessing import Preprocessing
from orchestrator.run.preprocessing_deaths import PreprocessingDeaths
from orchestrator.run.recovery import Recovery
from orchestrator.run.rewind import rewind
from orchestrator.run.scaling import Scaler
from orchestrator.run.starvation import StarvationWatch, find_shortage
from orchestrator.run.watch import AttemptWatch
from orchestrator.train.stop import StopRequested


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
        self._probe = CostProbe(directory, events)
        self._recovery = Recovery(plan.spec.failure, directory, events)
        self._node_losses = NodeLosses()
        self._deaths = PreprocessingDeaths(plan.spec.failure, directory, events)
        self._scaler = Scaler(directory, events)

    def begin(self) -> None:
        """Starts what can be done while Ray starts."""
        if self._plan.is_counted and not self._plan.fitted:
            self._probe.begin(self._plan)

    def close(self) -> None:
        """Ends what goes on in the background."""
        self._probe.close()

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
        self._recovery.begin()
        self._count(interrupts)
        number = max((a.driver for a in self._directory.attempts.all()), default=0) + 1
        while True:
            self._plan = self._scaler.sized(self._plan, check=self._lease.check)
            attempt = self._begin(number)
            self._node_losses.begin()
            watch = self._watch(attempt, interrupts, say)
            try:
                self._attempt(attempt, interrupts, watch)
            except (TrainingFailedError, RayError) as error:
                # Of a run that is another driver's by now, the failures are no news.
                self._lease.check()
                self._deaths.note(attempt.number)
                failure = watch.hang(step=attempt.step) or describe_failure(
                    error, step=attempt.step
                )
                if isinstance(failure.cause, StopRequested):
                    self._after_stop(failure.cause, attempt, interrupts)
                    continue
                # Fewer workers go where nodes answer; others would wait on one that is gone.
                wait = not self._plan.spec.scaling.elastic
                failure = self._node_losses.named(failure, wait=wait)
                failure = self._recovery.tell(self._scaler.failed(failure, attempt), attempt)
                if rewind(self._plan, self._directory.path, failure, attempt.number, self._events):
                    continue
                self._recovery.go_on(failure, error)
            except (StopRequested, RescaleError) as stop:
                self._after_stop(stop, attempt, interrupts)
            except OrchestratorError as error:  # what this process itself has found
                failure = describe_failure(error, step=attempt.step)
                self._recovery.go_on(self._recovery.tell(failure, attempt), error)
            else:
                self._tell("finished", attempt.number, step=self._plan.total_steps)
                return
            finally:
                watch.close()

    def _attempt(self, attempt: Attempt, interrupts: Interrupts, watch: AttemptWatch) -> None:
        with interrupts.noted():
            fitted = self._preprocessing.of(attempt, check=watch.check)
            self._tune(fitted, watch.check)
            fit(self._plan, self._directory, attempt, fitted, check=watch.check)
            self._deaths.note(attempt.number)

    def _after_stop(
        self, stop: StopRequested | RescaleError, attempt: Attempt, interrupts: Interrupts
    ) -> None:
        """Returns where the driver has stopped the attempt itself, and the run goes on.

        Raises:
            OrchestratorError: it does not.
        """
        self._lease.check()
        if isinstance(stop, RescaleError):
            # The workers have not begun, and so cannot say it themselves.
            self._tell("stopped", attempt.number, step=attempt.step, reason=str(stop))
        elif interrupts.asked or not self._scaler.asked:
            raise stop
        self._recovery.reason = str(stop)
        if (failure := self._scaler.after_stop(attempt, str(stop))) is not None:
            self._recovery.go_on(self._recovery.tell(failure, attempt), stop)

    def _count(self, interrupts: Interrupts) -> None:
        """Completes the plan, where its steps are not known before the rows are counted."""

        def check() -> None:
            self._lease.check()
            if interrupts.asked:
                raise KeyboardInterrupt

        newest = self._newest()
        checkpoint = newest.name if newest else None

        def accept(counted: JobPlan) -> None:
            if newest is not None:
                check_unchanged(newest.manifest.parts, counted)

        while not self._plan.is_counted:
            try:
                with interrupts.noted():
                    fitted = self._preprocessing.from_checkpoint(checkpoint, None, check=check)
                    self._plan = count_plan(
                        self._plan,
                        self._directory,
                        self._events,
                        fitted,
                        accept=accept,
                        check=check,
                    )
            except RayError as error:
                self._recovery.go_on(describe_failure(error, step=0), error)

    def _tune(self, fitted: tuple[FittedState, ...], check: Callable[[], None]) -> None:
        """Lets what the first rows cost choose what the spec leaves open."""
        tuned = self._probe.applied_to(self._plan, fitted, check=check)
        if tuned is not self._plan:
            self._plan = tuned
            write_plan(tuned, self._directory)

    def _watch(
        self, attempt: Attempt, interrupts: Interrupts, say: Callable[[str], None]
    ) -> AttemptWatch:
        scaling = self._scaler.watch(self._plan, attempt)

        def starved(cause: str) -> None:
            self._tell("starved", attempt.number, cause=cause)
            if scaling is not None:
                scaling.starved()

        starvation = StarvationWatch(
            lambda: find_shortage(self._plan),
            starved,
            limit_s=self._plan.spec.failure.starvation_timeout,
        )
        return AttemptWatch(
            self._directory,
            attempt.number,
            interrupts,
            starvation,
            still_ours=self._lease.check,
            deaths=lambda: self._deaths.check(attempt.number),
            say=say,
            scaling=scaling,
            hangs=open_hang_watch(
                self._plan.spec.failure.hang_timeout,
                self._directory,
                attempt.number,
                tell=partial(self._tell, attempt=attempt.number),
            ),
        )

    def finish(self) -> None:
        """Exports the final weights, where that was not done, and has the last word on the run."""
        self._lease.check()
        newest = self._newest()
        if newest is None or _steps_of(newest) < self._plan.total_steps:
            raise JobFailedError("training ended without a checkpoint of its last step")
        export_model(newest, self._directory.model, job=self._directory.job)
        # It is missing where an earlier driver was killed, or failed to export.
        if last_word(parse_events(read_json_lines(self._directory.events))) != "finished":
            self._tell("finished", newest.manifest.attempt, step=self._plan.total_steps)

    def _begin(self, driver: int) -> Attempt:
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
                reason=self._recovery.reason or "started",
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
        if (changes := other_versions(newest)) is not None:
            self._tell("other-versions", attempt.number, changes=changes)
        return attempt

    def _newest(self) -> CheckpointInfo | None:
        """The newest checkpoint that verifies, if it belongs to the order of this plan."""
        newest, set_aside = self._directory.checkpoints.newest_valid()
        for damaged in set_aside:
            self._tell("checkpoint-set-aside", None, name=damaged.name, reason=damaged.reason)
        if newest is None:
            return None
        check_unchanged(newest.manifest.parts, self._plan)
        check_strategy(newest.manifest, self._plan)
        return newest

    def _tell(self, event: str, attempt: int | None, **fields: JsonValue) -> None:
        self._events.write({"time": time.time(), "event": event, "attempt": attempt, **fields})


def _steps_of(checkpoint: CheckpointInfo | None) -> int:
    return checkpoint.manifest.step if checkpoint else 0
