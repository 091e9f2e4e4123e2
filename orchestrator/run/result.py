"""What a run came to, read from its directory; nothing is changed there."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from orchestrator.checkpoint.attempts import Attempt
from orchestrator.checkpoint.files import storage_errors
from orchestrator.checkpoint.manifest import CheckpointInfo
from orchestrator.checkpoint.retention import BestN
from orchestrator.data.quarantine_mark import count_quarantined
from orchestrator.errors import CheckpointError, SpecError
from orchestrator.jsonl import read_json_lines
from orchestrator.report.effective import effective_records
from orchestrator.report.records import (
    Event,
    TrainRecord,
    ValidationRecord,
    parse_events,
    parse_records,
)
from orchestrator.report.row import RunRow
from orchestrator.report.status import RunStatus, run_status
from orchestrator.report.storage import entry_sizes
from orchestrator.report.summary import RunSummary, last_heard, links_of, steps_done, summarise
from orchestrator.run.directory import RunDirectory
from orchestrator.run.holder import LEASE_FILE, TERM_S, Here, parse_lease, read_lease, this_process
from orchestrator.spec.checkpoint import BestSpec
from orchestrator.spec.environment import Unfilled
from orchestrator.spec.load import load_job

# Enough for the last thousand records: a list of runs is not to read all that they ever measured.
_TAIL_BYTES = 2**18


@dataclass(frozen=True, slots=True, kw_only=True)
class _Length:
    total_steps: int
    steps_per_epoch: int


def summarise_run(directory: RunDirectory) -> RunSummary:
    """The summary of a run, in progress or not, from its files alone.

    Raises:
        CheckpointError: a file of it is missing or damaged.
    """
    with _damage_named(directory):
        length = _read_length(directory)
        best = _read_best(directory)
        attempts = directory.attempts.all()
        events = parse_events(read_json_lines(directory.events))
        checkpoints = directory.checkpoints.committed()
        return summarise(
            parse_records(read_json_lines(directory.metrics)),
            events,
            attempts,
            name=directory.path.name,
            run_dir=directory.path,
            status=status_of(directory, events, attempts, here=this_process()),
            total_steps=length.total_steps,
            steps_per_epoch=length.steps_per_epoch,
            best_metric=best.metric if best else "loss",
            best_mode=best.mode if best else "min",
            checkpoints=[info.name for info in reversed(checkpoints)],
            best_checkpoint=_best_of(best, checkpoints),
            log_file=directory.newest_log(),
            sizes=entry_sizes(directory.path),
            quarantined=count_quarantined(directory.path),
        )


def row_of(directory: RunDirectory) -> RunRow:
    """What a list of runs says of one; quicker than its summary.

    Raises:
        CheckpointError: a file of it is missing or damaged.
    """
    with _damage_named(directory):
        length = _read_length(directory)
        attempts = directory.attempts.all()
        events = parse_events(read_json_lines(directory.events))
        records = parse_records(read_json_lines(directory.metrics, last_bytes=_TAIL_BYTES))
        effective = effective_records(records, links_of(attempts))
        trained = [record for record in effective if isinstance(record, TrainRecord)]
        validated = [record for record in effective if isinstance(record, ValidationRecord)]
        return RunRow(
            name=directory.path.name,
            run_dir=directory.path,
            status=status_of(directory, events, attempts, here=this_process()),
            steps=steps_done(effective, attempts),
            total_steps=length.total_steps,
            steps_per_epoch=length.steps_per_epoch,
            loss=trained[-1].loss if trained else None,
            metrics=dict(validated[-1].metrics) if validated else None,
            last_at=last_heard(records, events, attempts) or directory.job.stat().st_mtime,
            attempts=len(attempts),
            size=sum(entry_sizes(directory.path).values()),
        )


def status_of(
    directory: RunDirectory, events: Sequence[Event], attempts: Sequence[Attempt], *, here: Here
) -> RunStatus:
    """How a run stands; of a driver on another machine, as far as its lease tells."""
    content = read_lease(directory.path)
    holder = parse_lease(content) if content else None
    driver = f"process {attempts[-1].pid} on {attempts[-1].host}" if attempts else None
    if holder is not None and here.knows(holder):
        alive = here.sees(holder)
    else:
        alive = content is not None and _renewed_lately(directory)
    return run_status(events, driver=str(holder) if holder else driver, alive=alive)


def _renewed_lately(directory: RunDirectory) -> bool:
    # By the clock of the storage, which is good enough to look at, if not to take the run over.
    try:
        renewed = (directory.path / LEASE_FILE).stat().st_mtime
    except FileNotFoundError:
        return False
    return time.time() - renewed < TERM_S


@contextmanager
def _damage_named(directory: RunDirectory) -> Iterator[None]:
    try:
        with storage_errors("read the run in", directory.path):
            yield
    except ValueError as error:
        raise CheckpointError(f"the run in {directory.path} is damaged: {error}") from error
    except SpecError as error:
        raise CheckpointError(f"{directory.job} is damaged: {error}") from error


def _read_length(directory: RunDirectory) -> _Length:
    path = directory.plan
    try:
        plan = json.loads(path.read_bytes())
        total, per_epoch = int(plan["total_steps"]), int(plan["steps_per_epoch"])
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged, it is not the plan of a run") from error
    if total < 1 or per_epoch < 1:
        raise CheckpointError(f"{path} is damaged: a run has a step at least, and so has an epoch")
    return _Length(total_steps=total, steps_per_epoch=per_epoch)


def _read_best(directory: RunDirectory) -> BestSpec | None:
    return load_job(directory.job, environ=Unfilled()).checkpoint.best


def _best_of(best: BestSpec | None, checkpoints: list[CheckpointInfo]) -> str | None:
    if best is None:
        return None
    ranked = BestN(metric=best.metric, mode=best.mode).ranked(checkpoints)
    return ranked[0].name if ranked else None
