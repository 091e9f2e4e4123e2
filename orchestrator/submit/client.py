"""The jobs of one cluster, through Ray's job server."""

import logging
import os
import shlex
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from orchestrator.errors import ClusterError, JobFailedError
from orchestrator.run.cluster import environment_kept
from orchestrator.submit.address import NO_CLUSTER_HINT, Target
from orchestrator.submit.status import ENTRY_KEY, JobStatus, job_status
from orchestrator.submit.submission import Submission

if TYPE_CHECKING:
    from ray.job_submission import JobDetails

ANSWER_S = 30.0
_CONNECT_S = 5.0
# Ray's client takes these before the address that it is given.
_SHARED = ("working_dir", "env_vars", "pip")
_LOGGERS = ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk")
_IN_THE_WAY = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


@dataclass(frozen=True, kw_only=True, slots=True)
class JobHandle:
    """A job that was submitted.

    Attributes:
        job: its number on the cluster.
        run: the name of the run that it trains.
    """

    job: str
    run: str


class JobClient:
    """Submits jobs to a cluster, and sees how they stand.

    Every method raises ClusterError where the cluster does not answer or refuses.
    """

    def __init__(self, target: Target, *, answer_s: float = ANSWER_S) -> None:
        self.target = target
        headers = {"Authorization": f"Bearer {target.token}"} if target.token else None
        for name in _LOGGERS:
            # Of uploads and connections the user is told by us.
            logging.getLogger(name).setLevel(logging.WARNING)
        with self._told(), environment_kept():
            for name in _IN_THE_WAY:
                os.environ.pop(name, None)
            self._client = _bounded(target.url, headers, answer_s)

    def submit(self, submission: Submission, *, entry: str | None = None) -> JobHandle:
        """Submits a job; of two at once for the same run one is refused.

        Args:
            entry: its number in a queue.

        Raises:
            JobFailedError: the run is being trained by another job.
        """
        while True:
            jobs = self.jobs()
            _refuse_second(submission, jobs)
            job = _next_number(submission.run, jobs)
            try:
                with self._told():
                    self._client.submit_job(
                        entrypoint=submission.entrypoint,
                        submission_id=job,
                        runtime_env=dict(submission.runtime_env),
                        metadata={
                            **submission.metadata,
                            **({} if entry is None else {ENTRY_KEY: entry}),
                        },
                    )
            except ClusterError as error:
                # Somebody was quicker: whether for the same run is to be seen.
                if "already exists" in str(error):
                    continue
                raise
            return JobHandle(job=job, run=submission.run)

    def submit_helper(self, name: str, entrypoint: str, *, metadata: Mapping[str, str]) -> str:
        """Submits a job that trains no run; returns its number."""
        with self._told():
            return str(
                self._client.submit_job(
                    entrypoint=entrypoint,
                    submission_id=_next_number(name, self.jobs()),
                    metadata=dict(metadata),
                )
            )

    def jobs(self) -> Sequence[JobStatus]:
        """All jobs that were submitted to the cluster, the oldest first."""
        with self._told():
            found = self._client.list_jobs()
        # Drivers that have just connected to the cluster have no number of this kind.
        jobs = [_status(details) for details in found if details.submission_id]
        return sorted(jobs, key=lambda job: job.started_at or 0.0)

    def status(self, job: str) -> JobStatus:
        """How a job stands now."""
        with self._told():
            return _status(self._client.get_job_info(job))

    def logs(self, job: str) -> str:
        """All that the job's command has printed."""
        with self._told():
            return str(self._client.get_job_logs(job))

    async def tail(self, job: str) -> AsyncIterator[str]:
        """What the job's command prints, from its beginning to its end."""
        with self._told():
            async for text in self._client.tail_job_logs(job):
                yield text

    def run_beside(self, job: str, arguments: Sequence[str]) -> str:
        """Runs a command of ours with the Python and the code of a job; returns its number."""
        with self._told():
            details = self._client.get_job_info(job)
            python, *_ = shlex.split(details.entrypoint)
            environment = details.runtime_env or {}
            brought = {key: environment[key] for key in _SHARED if key in environment}
            command = shlex.join([python, "-m", "orchestrator", *arguments])
            return str(self._client.submit_job(entrypoint=command, runtime_env=brought))

    def kill(self, job: str) -> bool:
        """Has Ray end a job: SIGTERM, and SIGKILL three seconds later. False where it had ended."""
        with self._told():
            return bool(self._client.stop_job(job))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Ray's and the network's errors, in words."""
        url = self.target
        try:
            yield
        except AuthenticationError as error:
            sent = self.target.token is not None
            raise ClusterError(
                f"the cluster at {url} refuses the token"
                if sent
                else f"the cluster at {url} wants a token",
                hint="RAY_AUTH_TOKEN_PATH names the file with the cluster's token",
            ) from error
        except requests.exceptions.Timeout as error:
            raise ClusterError(
                f"the cluster at {url} does not answer", hint=NO_CLUSTER_HINT
            ) from error
        except (
            ConnectionError,
            requests.exceptions.ConnectionError,
            aiohttp.ClientError,
        ) as error:
            raise ClusterError(f"no cluster answers at {url}", hint=NO_CLUSTER_HINT) from error
        except (requests.exceptions.RequestException, KeyError, TypeError) as error:
            raise ClusterError(f"what answers at {url} is no dashboard of Ray: {error}") from error
        except RuntimeError as error:
            raise ClusterError(f"the cluster at {url} refuses: {_last_line(error)}") from error


def _bounded(url: str, headers: dict[str, str] | None, answer_s: float) -> JobSubmissionClient:
    """Ray's client, which by itself would wait for an answer for ever."""

    class Bounded(JobSubmissionClient):
        def _do_request(
            self,
            method: str,
            endpoint: str,
            *,
            data: bytes | None = None,
            json_data: dict[Any, Any] | None = None,
            **options: Any,
        ) -> requests.Response:
            options.setdefault("timeout", (_CONNECT_S, answer_s))
            return super()._do_request(method, endpoint, data=data, json_data=json_data, **options)

    return Bounded(url, headers=headers)


def _refuse_second(submission: Submission, jobs: Sequence[JobStatus]) -> None:
    for job in jobs:
        if job.open and job.run_dir == submission.run_dir:
            raise JobFailedError(
                f"the run {submission.run} is being trained already, by the job {job.job}"
                f" ({job.word})",
                hint=f"orchestrator logs -f {submission.run} follows it, orchestrator stop"
                f" {submission.run} ends it; --name gives this job a run of its own",
            )


def _next_number(run: str, jobs: Sequence[JobStatus]) -> str:
    """NAME@N: the same for two clients at once, and Ray takes a number only once."""
    numbers = [_number(job.job, run) for job in jobs]
    return f"{run}@{max(numbers, default=0) + 1}"


def _number(job: str, run: str) -> int:
    name, _, number = job.rpartition("@")
    return int(number) if name == run and number.isdecimal() else 0


def _status(details: "JobDetails") -> JobStatus:
    return job_status(
        str(details.submission_id),
        state=str(details.status.value),
        metadata=details.metadata,
        exit_code=details.driver_exit_code,
        message=details.message,
        started_ms=details.start_time,
        ended_ms=details.end_time,
    )


def _last_line(error: RuntimeError) -> str:
    """Of a server's traceback the line that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "without a word"
