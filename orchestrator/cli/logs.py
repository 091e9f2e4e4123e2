"""`orchestrator logs`: what a job, or a run, has printed, also after its cluster is gone."""

import argparse
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from orchestrator.cli.following import follow_job, say_line
from orchestrator.cli.job_arguments import add_address
from orchestrator.cli.output import complain
from orchestrator.cli.run_arguments import add_storage
from orchestrator.errors import UnknownRunError

if TYPE_CHECKING:
    from orchestrator.submit.lookup import Found
    from orchestrator.submit.ranks import RankLines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument("name", metavar="NAME", help="name of a run, or the number of a job")
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on until it ends; Ctrl-C leaves it alone"
    )
    parser.add_argument(
        "--rank", metavar="N", type=int, help="only what this training worker has printed"
    )
    add_address(parser)
    add_storage(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the log: of the job while its cluster has it, or else of the run's drivers.

    Raises:
        UnknownRunError: there is no such job, and no such run; or it has printed nothing.
        ClusterError: the cluster that was asked for does not answer.
    """
    # Only here: `--help` does not wait for all that a run's directory is read with.
    from orchestrator.submit.lookup import look_up
    from orchestrator.submit.ranks import RankLines

    found = look_up(args.name, address=args.address, storage=args.storage, environ=os.environ)
    lines = RankLines(args.rank, say_line)
    if found.job is not None and found.client is not None:
        if args.follow:
            return follow_job(found.client, found.job.job, run=found.job.run, show=lines.take)
        return _show(found.client.logs(found.job.job).splitlines(), lines)
    return _show(_stored(found, follow=args.follow), lines)


def _stored(found: "Found", *, follow: bool) -> Iterable[str]:
    from orchestrator.submit.stored_logs import stored_lines

    if found.directory is None or (found.directory.newest_log() is None and not follow):
        raise UnknownRunError("nothing has been printed yet")
    return stored_lines(found.directory, follow=follow)


def _show(printed: Iterable[str], lines: "RankLines") -> int:
    try:
        for line in printed:
            lines.take(line)
    except KeyboardInterrupt:
        complain("detached: the run goes on")
        return 130
    return 0
