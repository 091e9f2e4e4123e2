"""`orchestrator cluster node`: adds, drains or kills a node of a development cluster."""

import argparse

from orchestrator.cli.output import say
from orchestrator.errors import ClusterError
from orchestrator.labels import PREPROCESSING, TRAINING
from orchestrator.units import format_duration, parse_duration

_ROLES = {"cpu": PREPROCESSING, "gpu": TRAINING}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the action."""
    actions = parser.add_subparsers(metavar="add|drain|remove", dest="node_action", required=True)
    add = actions.add_parser("add", help="start one more node", allow_abbrev=False)
    add.add_argument("kind", choices=sorted(_ROLES), help="for preprocessing, or for training")
    drain = actions.add_parser(
        "drain", help="give notice that a node will be taken away", allow_abbrev=False
    )
    drain.add_argument(
        "--in", metavar="TIME", default="30s", dest="notice", help="how long before, by default 30s"
    )
    remove = actions.add_parser("remove", help="kill a node without notice", allow_abbrev=False)
    for action in (drain, remove):
        action.add_argument("node", help="first or last letters of its number: see cluster status")
    for action in (add, drain, remove):
        action.add_argument("--name", help="which cluster; by default the only one")


def run(args: argparse.Namespace) -> int:
    """Does it.

    Raises:
        ClusterError: there is no such cluster or node, or it cannot be done.
    """
    # Only here: they import Ray.
    from orchestrator.provision import members
    from orchestrator.provision.registry import find_cluster

    record = find_cluster(args.name)
    if args.node_action == "add":
        started = members.add(record, _ROLES[args.kind])
        say(f"node {started.node_id[-members.SHOWN :]} ({_ROLES[args.kind]}) is there")
        return 0
    node = members.find(members.members(record), args.node)
    if args.node_action == "drain":
        seconds = _notice(args.notice)
        members.drain(record, node, seconds=seconds)
        say(f"node {node.short_id} ({node.role}) goes in {format_duration(seconds)}")
    else:
        members.remove(record, node)
        say(f"node {node.short_id} ({node.role}) is gone")
    return 0


def _notice(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ClusterError(f"--in: {error}") from error
