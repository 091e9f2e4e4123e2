"""A job from its plan to its summary: the lease, Ray and the driver, one around the other."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

from rich.console import Console
from rich.text import Text

from orchestrator.jsonl import JsonLinesWriter
from orchestrator.plan.job import JobPlan
from orchestrator.redaction.process import redact
from orchestrator.report.follow import Follower
from orchestrator.report.progress import ProgressDisplay
from orchestrator.report.summary import RunSummary
from orchestrator.run.aside import set_aside
from orchestrator.run.counting import with_known_counts
from orchestrator.run.describe import describe_run
from orchestrator.run.directory import RunDirectory, open_run
from orchestrator.run.driver import Driver
from orchestrator.run.ending import ending_recorded
from orchestrator.run.interrupt import Interrupts
from orchestrator.run.lease import hold_lease
from orchestrator.run.planning import plan_job
from orchestrator.run.reap import reap, recorded_session
from orchestrator.run.restoring import mirroring, restore
from orchestrator.run.result import summarise_run
from orchestrator.run.session import ray_session
from orchestrator.run.stopping import requests_heeded
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
    restore(plan, directory, say=say)
    plan = with_known_counts(plan, directory)
    display = _display(plan, console)
    interrupts = Interrupts(at_once=lambda: _end_at_once(directory.path, console))
    # Made before the driver looks at the checkpoints: what it sets aside then is shown too.
    follower = Follower(directory.path, display)
    with (
        interrupts.handled(),
        hold_lease(directory.path, say=say) as lease,
        requests_heeded(directory.path, lease.token, interrupts.request),
        mirroring(plan, directory, still_ours=lease.check),
        JsonLinesWriter(directory.events) as events,
        closing(Driver(plan, directory, events, lease)) as driver,
    ):
        # Asked in any case: it refuses to go on from a checkpoint of other rows.
        steps_done = driver.steps_done()
        done = plan.is_counted and steps_done >= plan.total_steps
        if done:
            say(f"the run {plan.spec.name} is already finished; --fresh starts it over")
        else:
            describe_run(plan, directory)
        with ending_recorded(events, directory.attempts, lease):
            if not done:
                with display, follower:
                    display.phase("starting Ray")
                    driver.begin()
                    with _session(plan, directory, log_to_driver=log_to_driver):
                        interrupts.install_again()
                        driver.train(interrupts, say=display.phase)
            driver.finish()
    return summarise_run(directory)


def teller(console: Console) -> Callable[[str], None]:
    """Prints lines as they are: no text of ours or of a user's is markup."""
    return lambda text: console.print(Text(redact(text)), soft_wrap=True)


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


def _end_at_once(run_dir: Path, console: Console) -> None:
    """Ends the processes of a run that nobody waits for, and gives the terminal its cursor back."""
    if (session := recorded_session(run_dir)) is not None:
        reap(session, grace_s=0.0)
    console.show_cursor()
