"""Shows what a job prints until it ends, or until the user has seen enough."""

import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestrator.cli.output import complain, say

if TYPE_CHECKING:
    from orchestrator.submit.client import JobClient

DETACHED = 130
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def say_line(line: str) -> None:
    """Prints a line of a log; Ray's colours are for terminals."""
    say(line if sys.stdout.isatty() else _COLOUR.sub("", line))


def follow_job(
    client: "JobClient", job: str, *, run: str | None, show: Callable[[str], None] = say_line
) -> int:
    """Returns the exit code that the job has come to; that of Ctrl-C, which leaves it alone.

    Raises:
        ClusterError: the cluster does not answer any more.
    """
    # Only here: it brings Ray along.
    from orchestrator.submit.following import follow

    name = run or job
    try:
        status = follow(client, job, show)
    except KeyboardInterrupt:
        complain(
            f"detached: the job {job} goes on\n"
            f"hint: orchestrator logs -f {name} comes back, orchestrator stop {name} ends it"
        )
        return DETACHED
    if status.word == "failed" and status.exit_code is None and status.message:
        complain(f"error: the job {job} failed: {status.message.strip()}")
    else:
        complain(f"the job {job} {_ending(status.word)}")
    return status.code


def _ending(word: str) -> str:
    return {"finished": "has finished", "failed": "has failed"}.get(word, f"was {word}")
