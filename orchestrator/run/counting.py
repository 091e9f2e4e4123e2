"""The counts of the rows, where transforms change their number: kept, or found by a pass."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from orchestrator.checkpoint.files import storage_errors
from orchestrator.data.counting import count_rows
from orchestrator.data.counts_file import StoredCounts, counts_file, dump_counts, parse_counts
from orchestrator.data.fitted import FittedState
from orchestrator.jsonl import JsonLinesWriter
from orchestrator.plan.counting import Counting
from orchestrator.plan.job import JobPlan
from orchestrator.plan.origins import Counts
from orchestrator.plan.stream import StreamPlan
from orchestrator.run.apart import run_apart
from orchestrator.run.describe import describe_run
from orchestrator.run.directory import RunDirectory, replace_file
from orchestrator.run.planning import with_space_warning
from orchestrator.run.quarantine import check_and_list, check_budget


def with_known_counts(plan: JobPlan, directory: RunDirectory) -> JobPlan:
    """The plan with what an earlier start has counted; as it is where something is missing.

    Raises:
        DataError: more rows are quarantined than the spec allows.
        PlanError: it cannot be carried out, now that this is known.
    """
    if plan.is_counted:
        return plan
    counts = {
        stream.split: found
        for stream in plan.streams
        if (found := _known(stream, directory)) is not None
    }
    for stream in plan.streams:
        if stream.split in counts:
            check_budget(stream, counts[stream.split])
    return with_space_warning(plan.counted(counts))


def count_plan(
    plan: JobPlan,
    directory: RunDirectory,
    events: JsonLinesWriter,
    fitted: tuple[FittedState, ...],
    *,
    accept: Callable[[JobPlan], None],
    check: Callable[[], None],
) -> JobPlan:
    """The plan with its rows counted, where that is not known yet.

    The counts are kept for the next start, and for the audit.

    Args:
        fitted: the states of the fitted transforms.
        accept: refuses the counted plan, by an exception, before anything of the run is replaced.
        check: called several times a second in this thread; what it raises ends the wait.

    Raises:
        DataError: a transform raised, or returned what its kind may not; too many rows are bad.
        PlanError: it cannot be carried out, now that the counts are known.
        ray.exceptions.RayError: the pass failed.
    """
    counts = {}
    root = Path(plan.spec.runtime.working_dir)
    for stream in plan.streams:
        if (known := _known(stream, directory)) is not None:
            counts[stream.split] = known
        if stream.is_counted:
            continue
        began = time.monotonic()
        assert stream.counting is not None  # what is not counted yet has it
        checked = stream.counting.most_errors is not None
        uses = [spec.use for spec in stream.transforms if spec.changes_rows or checked]
        _tell(events, "counting", split=stream.split, uses=", ".join(uses) or "reading")
        if checked:
            found = check_and_list(stream, directory, events, fitted, root=root, check=check)
        else:
            found = run_apart(partial(count_rows, stream, root=root, fitted=fitted), check)
        counts[stream.split] = found
        _tell(
            events,
            "counted",
            split=stream.split,
            rows=len(found),
            filtered=int((found == 0).sum()),
            seconds=time.monotonic() - began,
        )
    counted = plan.counted(counts)
    accept(counted)
    for stream in counted.streams:
        if stream.counting is not None:
            _keep(stream.counting, stream.split, counts[stream.split], directory)
    describe_run(counted, directory)
    _tell(
        events,
        "planned",
        total_steps=counted.total_steps,
        steps_per_epoch=counted.train.geometry.steps_per_epoch,
    )
    return counted


def _known(stream: StreamPlan, directory: RunDirectory) -> Counts | None:
    """What was counted of this stream before; None where that is not known, or was of another."""
    if stream.counting is None:
        return None
    path = directory.path / counts_file(stream.split)
    try:
        with storage_errors("read", path):
            stored = parse_counts(path.read_bytes()) if path.exists() else None
    except ValueError:
        return None  # damaged: counting gives the same again, and the fingerprint proves it
    return stored.counts if stored and stored.key == stream.counting.key else None


def _keep(counting: Counting, split: str, counts: Counts, directory: RunDirectory) -> None:
    stored = StoredCounts(key=counting.key, counts=counts)
    replace_file(directory.path / counts_file(split), dump_counts(stored))


def _tell(events: JsonLinesWriter, event: str, **fields: str | int | float) -> None:
    events.write({"time": time.time(), "event": event, "attempt": None, **fields})
