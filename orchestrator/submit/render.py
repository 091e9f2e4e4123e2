"""Jobs as text and as JSON."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.submit.status import JobStatus
from orchestrator.units import format_duration

if TYPE_CHECKING:
    from pydantic import JsonValue

_HEADINGS = ("job", "run", "status", "started", "took")
_FIRST_LINE = 120


def render_jobs(jobs: Sequence[JobStatus], *, now: float) -> str:
    """A line for each job, below headings.

    Args:
        now: Unix time in seconds.
    """
    lines = [_HEADINGS, *(_cells(job, now) for job in jobs)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def render_job(job: JobStatus, *, now: float) -> str:
    """A job in a line or two.

    Args:
        now: Unix time in seconds.
    """
    name, _, status, started, took = _cells(job, now)
    ending = f" with exit code {job.exit_code}" if job.word == "failed" and job.exit_code else ""
    text = f"job {name}  {status}{ending}"
    if job.started_at is not None:
        text += f"  since {started}" if job.open else f"  after {took}"
    if job.word in {"pending", "failed"} and job.exit_code is None and job.message:
        text += f"\n  {job.message.strip().splitlines()[0][:_FIRST_LINE]}"
    return text


def job_json(job: JobStatus) -> "dict[str, JsonValue]":
    """A job as JSON: the attributes of JobStatus."""
    return {
        "job": job.job,
        "run": job.run,
        "run_dir": None if job.run_dir is None else str(job.run_dir),
        "status": job.word,
        "exit_code": job.exit_code,
        "message": job.message,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
    }


def _cells(job: JobStatus, now: float) -> tuple[str, ...]:
    started = took = ""
    if job.started_at is not None:
        started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(job.started_at))
        took = format_duration(max(0.0, (job.ended_at or now) - job.started_at))
    return job.job, job.run or "", job.word, started, took
