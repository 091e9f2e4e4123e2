"""`orchestrator cluster down`: ends a development cluster, also what a crash has left of one."""

import argparse

from orchestrator.cli.output import complain, say
from orchestrator.errors import ClusterError
from orchestrator.provision.request import DEFAULT_NAME, check_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the action."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--name", help="which cluster; by default the only one")
    which.add_argument("--all", action="store_true", help="all clusters of this user")


def run(args: argparse.Namespace) -> int:
    """Ends the cluster.

    Raises:
        ClusterError: there is none of that name, or several and no name.
    """
    # Only here: it looks for processes, which takes a moment.
    from orchestrator.provision.local import down
    from orchestrator.provision.registry import all_recorded

    names = [record.name for record in all_recorded()]
    if not args.all:
        names = [_chosen(args.name, names)]
    for name in names:
        for job in _at_work(name):
            complain(f'cluster "{name}": {job} ends with it')
        down(name)
        say(f'cluster "{name}" is down')
    if not names:
        say("no local cluster runs")
    return 0


def _at_work(name: str) -> list[str]:
    """The jobs that a cluster runs, as far as it can still tell."""
    from orchestrator.provision.jobs import jobs_of
    from orchestrator.provision.registry import recorded

    record = recorded(name)
    if record is None or not record.is_up:
        return []
    try:
        jobs = jobs_of(record)
    except ClusterError:
        return []  # of a cluster that has crashed
    return [f"job {job.id} ({job.entrypoint})" for job in jobs if job.status == "RUNNING"]


def _chosen(name: str | None, names: list[str]) -> str:
    if name is not None:
        check_name(name)
    chosen = name or (names[0] if len(names) == 1 else DEFAULT_NAME)
    if chosen in names:
        return chosen
    hint = "--name says which, --all ends all of them" if names else None
    raise ClusterError(
        f'no local cluster "{chosen}" is there (there: {", ".join(names) or "none"})', hint=hint
    )
