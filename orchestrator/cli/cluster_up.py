"""`orchestrator cluster up`: starts a development cluster on this machine."""

import argparse

from orchestrator.cli.output import complain, say
from orchestrator.provision.request import DEFAULT_NAME, ClusterRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the action."""
    parser.add_argument("--name", default=DEFAULT_NAME, help="name, to have several side by side")
    parser.add_argument(
        "--cpu-nodes",
        metavar="N",
        default=None,
        help="nodes for preprocessing, by default 2; with --autoscale a range, by default 0..2",
    )
    parser.add_argument(
        "--gpu-nodes",
        metavar="N",
        default=None,
        help="nodes for training, each with one logical GPU, by default 1, or 0..1",
    )
    parser.add_argument(
        "--cpus-per-node", metavar="N", default="4", help="logical CPUs of a node, by default 4"
    )
    parser.add_argument(
        "--autoscale", action="store_true", help="nodes come when work waits, and leave when idle"
    )
    parser.add_argument(
        "--idle-timeout",
        metavar="TIME",
        default="60s",
        help="after which time without work an autoscaled node leaves, by default 60s",
    )


def run(args: argparse.Namespace) -> int:
    """Starts the cluster.

    Raises:
        ClusterError: it cannot be started.
    """
    request = _request(args)
    # Only here: it imports Ray.
    from orchestrator.provision.local import up

    record = up(request, say=complain)
    say(
        f'cluster "{record.name}": {request}\n'
        f"  address    {record.address}\n"
        f"  dashboard  {record.dashboard}\n"
        f"  token      {record.token_file}\n"
        "\n"
        f"  orchestrator submit SPEC{_option(record.name)}\n"
        f"  orchestrator run SPEC --set runtime.address={record.address}\n"
        f"  orchestrator cluster status{_option(record.name)}\n"
        f"  orchestrator cluster down{_option(record.name)}"
    )
    return 0


def _option(name: str) -> str:
    return "" if name == DEFAULT_NAME else f" --name {name}"


def _request(args: argparse.Namespace) -> ClusterRequest:
    least = "0.." if args.autoscale else ""
    return ClusterRequest.parse(
        name=args.name,
        cpu_nodes=args.cpu_nodes or f"{least}2",
        gpu_nodes=args.gpu_nodes or f"{least}1",
        cpus_per_node=args.cpus_per_node,
        autoscale=args.autoscale,
        idle_timeout=args.idle_timeout,
    )
