"""What a job prints, line by line, to its end."""

import asyncio
from collections.abc import Callable

from orchestrator.errors import ClusterError
from orchestrator.submit.client import JobClient
from orchestrator.submit.status import JobStatus

# A connection that breaks is made again; a cluster that is gone is told after so many seconds.
_TRIES = 5
_PAUSE_S = 1.0


def follow(client: JobClient, job: str, show: Callable[[str], None]) -> JobStatus:
    """Shows each line that a job prints, from the first one on, until the job has ended.

    Raises:
        ClusterError: the cluster does not answer any more.
        KeyboardInterrupt: the user has seen enough; the job goes on.
    """
    return asyncio.run(_follow(client, job, show))


async def _follow(client: JobClient, job: str, show: Callable[[str], None]) -> JobStatus:
    lines = _Lines(show)
    failures = 0
    while True:
        lines.begin()
        try:
            async for text in client.tail(job):
                failures = 0
                lines.take(text)
            # The log has ended a moment before the job is told to have.
            status = await asyncio.to_thread(client.status, job)
        except ClusterError:
            failures += 1
            if failures == _TRIES:
                raise
            await asyncio.sleep(_PAUSE_S)
            continue
        if not status.open:
            lines.end()
            return status
        await asyncio.sleep(_PAUSE_S)


class _Lines:
    """Makes whole lines of pieces, and leaves out those that were shown before a break."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._taken = 0
        self._shown = 0
        self._rest = ""

    def begin(self) -> None:
        """What comes now is the log from its beginning."""
        self._taken = 0
        self._rest = ""

    def take(self, text: str) -> None:
        *whole, self._rest = (self._rest + text).split("\n")
        for line in whole:
            self._take_line(line.rstrip("\r"))

    def end(self) -> None:
        """What is left is the last line."""
        if self._rest:
            self._take_line(self._rest)

    def _take_line(self, line: str) -> None:
        self._taken += 1
        if self._taken > self._shown:
            self._shown = self._taken
            self._show(line)
