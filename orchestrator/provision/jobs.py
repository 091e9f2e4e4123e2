"""The jobs of a cluster, asked for over its dashboard."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass

from orchestrator.errors import ClusterError
from orchestrator.provision.registry import ClusterRecord

_ANSWER_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterJob:
    """A job that was submitted to a cluster, or a driver that has connected to it."""

    id: str
    status: str
    entrypoint: str


def jobs_of(record: ClusterRecord) -> tuple[ClusterJob, ...]:
    """The jobs of a cluster, the newest last.

    Raises:
        ClusterError: the dashboard does not answer.
    """
    # No proxy of the user's environment sees the token.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        token = record.token_file.read_text().strip()
        request = urllib.request.Request(
            f"{record.dashboard}/api/jobs/", headers={"Authorization": f"Bearer {token}"}
        )
        with direct.open(request, timeout=_ANSWER_S) as answer:
            found = json.load(answer)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"the dashboard at {record.dashboard} does not answer: {error}"
        ) from error
    jobs = sorted(found, key=lambda job: job.get("start_time") or 0)
    return tuple(
        ClusterJob(
            id=str(job.get("submission_id") or job.get("job_id")),
            status=str(job["status"]),
            entrypoint=str(job["entrypoint"]),
        )
        for job in jobs
    )
