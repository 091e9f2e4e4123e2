"""Which job, or which run, a name means: on the cluster, and in a storage."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import ClusterError, UnknownRunError
from orchestrator.run.directory import RunDirectory
from orchestrator.run.listing import find_run
from orchestrator.submit.address import choose_target
from orchestrator.submit.status import JobStatus

if TYPE_CHECKING:
    from orchestrator.submit.client import JobClient


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a name means.

    Attributes:
        job: the newest of the run on the cluster; None where there is none.
        client: of the cluster, None where none is reached.
        directory: of the run, None where it is not to be seen from here.
    """

    job: JobStatus | None
    client: "JobClient | None"
    directory: RunDirectory | None


def look_up(
    wanted: str, *, address: str | None, storage: Path, environ: Mapping[str, str]
) -> Found:
    """Looks for a job's number or a run's name on the cluster, then for the run in a storage.

    Args:
        address: of the cluster; where None is given and none is found, the storage has the word.

    Raises:
        UnknownRunError: there is neither.
        ClusterError: the cluster that was asked for does not answer.
    """
    client = _client(address, environ)
    jobs = () if client is None else client.jobs()
    job = find_job(wanted, jobs)
    directory = None if job is None else _seen(job, client)
    if directory is None:
        try:
            directory = find_run(_name_in(wanted), storage=storage)
        except UnknownRunError:
            if job is None:
                raise _unknown(wanted, jobs, client, storage) from None
    return Found(job=job, client=client, directory=directory)


def find_job(wanted: str, jobs: Sequence[JobStatus]) -> JobStatus | None:
    """The job of that number, or the newest one of the run of that name."""
    for job in jobs:
        if job.job == wanted:
            return job
    of_run = [job for job in jobs if job.run == wanted]
    return of_run[-1] if of_run else None


def _client(address: str | None, environ: Mapping[str, str]) -> "JobClient | None":
    try:
        target = choose_target(address, environ)
        # Only where there is a cluster: it brings Ray along.
        from orchestrator.submit.client import JobClient

        return JobClient(target)
    except ClusterError:
        if address is not None:
            raise
        return None


def _seen(job: JobStatus, client: "JobClient | None") -> RunDirectory | None:
    """The job's run, where the cluster's files are to be seen from here."""
    if job.run_dir is None or client is None or not client.target.here:
        return None
    directory = RunDirectory(path=job.run_dir)
    return directory if directory.is_run else None


def _name_in(wanted: str) -> str:
    """Of a job's number the name of its run."""
    name, _, number = wanted.rpartition("@")
    return name if name and number.isdecimal() else wanted


def _unknown(
    wanted: str, jobs: Sequence[JobStatus], client: "JobClient | None", storage: Path
) -> UnknownRunError:
    names = sorted({name for job in jobs for name in (job.job, job.run) if name})
    close = difflib.get_close_matches(wanted, names, n=1)
    question = f'; did you mean "{close[0]}"?' if close else ""
    where = "no cluster is reached" if client is None else f"not among those of {client.target}"
    return UnknownRunError(
        f'no job "{wanted}" ({where}), and no run of that name in {storage}{question}',
        hint="orchestrator jobs lists the jobs of a cluster, orchestrator runs the runs of a"
        " storage; --address and --storage say where else to look",
    )
