"""Rewinds: a step that spoilt the training is left out by the attempts that follow."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from orchestrator.checkpoint.files import storage_errors
from orchestrator.errors import CheckpointError, JobFailedError, NotFiniteError
from orchestrator.jsonl import JsonLinesWriter
from orchestrator.ledger.files import write_whole
from orchestrator.plan.job import JobPlan
from orchestrator.run.failure import Failure

REWINDS_FILE = "rewinds.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewind:
    """One rewind; `place` is the step that is left out, by the order and counted from 0.

    `rows` are those of the step whose loss was no number, as far as they are known. `frees` is the
    place of an earlier rewind for which this one stands: what it left out was not at fault.
    """

    place: int
    attempt: int
    rows: tuple[int, ...]
    reason: str
    frees: int | None = None


_ADAPTER = TypeAdapter(tuple[Rewind, ...])


def read_rewinds(run_dir: Path) -> tuple[Rewind, ...]:
    """The rewinds of a run so far, the oldest first.

    Raises:
        CheckpointError: their file cannot be read, or is not what was written.
    """
    path = run_dir / REWINDS_FILE
    with storage_errors("read", path):
        text = path.read_bytes() if path.is_file() else b"[]"
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        raise CheckpointError(
            f"{path} does not say which steps are to be left out: {error.errors()[0]['msg']}",
            hint="the run cannot go on without it; --fresh starts it over",
        ) from error


def skipped_places(rewinds: Sequence[Rewind]) -> frozenset[int]:
    """The steps that the next attempt leaves out, by the order and counted from 0."""
    freed = {rewind.frees for rewind in rewinds}
    return frozenset(rewind.place for rewind in rewinds if rewind.place not in freed)


def rewind(
    plan: JobPlan, run_dir: Path, failure: Failure, attempt: int, events: JsonLinesWriter
) -> bool:
    """Records, where the spec wants it, that the step that spoilt an attempt is to be left out.

    Returns whether the run goes on: from the newest checkpoint, with the next attempt.

    Raises:
        JobFailedError: the budget is spent.
    """
    training, cause = plan.spec.training, failure.cause
    if training.on_nan != "rewind" or not isinstance(cause, NotFiniteError):
        return False
    if cause.place is None:
        # What cannot be named cannot be left out.
        return False
    before = read_rewinds(run_dir)
    if len(before) >= training.max_rewinds:
        places = ", ".join(str(place + 1) for place in sorted(skipped_places(before)))
        raise JobFailedError(
            f"{cause}\ntraining.max_rewinds ({training.max_rewinds}) is used up"
            + (f": step {places} left out so far" if places else ""),
            hint=cause.hint,
        )
    new = Rewind(
        place=cause.place,
        attempt=attempt,
        rows=cause.rows,
        reason=failure.reason,
        frees=cause.frees,
    )
    document = [asdict(each) for each in (*before, new)]
    write_whole(run_dir / REWINDS_FILE, json.dumps(document, indent=1).encode())
    events.write(
        {
            "time": time.time(),
            "event": "rewound",
            "attempt": attempt,
            "step": cause.place + 1,
            "rewinds": len(before) + 1,
            "max_rewinds": training.max_rewinds,
            "rows": list(cause.rows),
        }
    )
    return True
