"""How a job on a cluster stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

JobWord = Literal["queued", "pending", "running", "finished", "interrupted", "stopped", "failed"]

RUN_KEY = "orchestrator.run"
RUN_DIR_KEY = "orchestrator.run_dir"
ENTRY_KEY = "orchestrator.queue_entry"
QUEUE_KEY = "orchestrator.queue"
"""What a job of ours says of itself in its metadata."""

_INTERRUPTED = 130
_WORDS: Mapping[str, JobWord] = {
    "PENDING": "pending",
    "RUNNING": "running",
    "STOPPED": "stopped",
    "SUCCEEDED": "finished",
    "FAILED": "failed",
}
_OPEN: frozenset[JobWord] = frozenset({"pending", "running"})


@dataclass(frozen=True, kw_only=True, slots=True)
class JobStatus:
    """How a job stands, by the cluster's word.

    Attributes:
        job: its number on the cluster.
        run: the name of the run that it trains; None for a job of another tool.
        run_dir: where that lies, as the cluster's nodes see it.
        exit_code: of the job's command, None as long as there is none, or where it was killed.
        message: what the cluster says about it.
        started_at: Unix time in seconds; so is ended_at.
        entry: its number in the queue that it came from.
        queue: the folder of the queue that it runs, of the job that does.
    """

    job: str
    run: str | None
    run_dir: Path | None
    word: JobWord
    exit_code: int | None = None
    message: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    entry: str | None = None
    queue: Path | None = None

    @property
    def open(self) -> bool:
        """Whether it has not ended."""
        return self.word in _OPEN

    @property
    def code(self) -> int:
        """The exit code of a command that waited for the job's end."""
        match self.word:
            case "finished":
                return 0
            case "stopped" | "interrupted":
                return _INTERRUPTED
        code = self.exit_code or 1
        # Of a signal a shell says 128 and its number, which is no kind of ours.
        return code if 0 < code < 1 << 7 else 1


def job_status(
    job: str,
    *,
    state: str,
    metadata: Mapping[str, str] | None,
    exit_code: int | None,
    message: str | None,
    started_ms: int | None,
    ended_ms: int | None,
) -> JobStatus:
    """The status of a job, from what the job server says of it."""
    about = metadata or {}
    word = _WORDS.get(state, "failed")
    if word == "failed" and exit_code == _INTERRUPTED:
        word = "interrupted"
    run_dir = about.get(RUN_DIR_KEY)
    return JobStatus(
        job=job,
        run=about.get(RUN_KEY),
        run_dir=None if run_dir is None else Path(run_dir),
        word=word,
        exit_code=exit_code,
        message=message,
        started_at=None if started_ms is None else started_ms / 1000,
        ended_at=None if ended_ms is None else ended_ms / 1000,
        entry=about.get(ENTRY_KEY),
        queue=Path(about[QUEUE_KEY]) if QUEUE_KEY in about else None,
    )
