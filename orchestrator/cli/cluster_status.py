"""`orchestrator cluster status`: the nodes of a development cluster, their resources, its jobs."""

import argparse
import json
from typing import TYPE_CHECKING

from orchestrator.cli.output import say

if TYPE_CHECKING:
    from orchestrator.provision.jobs import ClusterJob
    from orchestrator.provision.members import MemberNode
    from orchestrator.provision.registry import ClusterRecord


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the action."""
    parser.add_argument("--name", help="which cluster; by default the only one")
    parser.add_argument("--json", action="store_true", help="for a program")


def run(args: argparse.Namespace) -> int:
    """Shows it.

    Raises:
        ClusterError: there is no such cluster, or it does not answer.
    """
    # Only here: they import Ray.
    from orchestrator.provision.jobs import jobs_of
    from orchestrator.provision.members import members
    from orchestrator.provision.registry import find_cluster

    record = find_cluster(args.name)
    nodes, jobs = members(record), jobs_of(record)
    say(_as_json(record, nodes, jobs) if args.json else _as_text(record, nodes, jobs))
    return 0


def _as_json(
    record: "ClusterRecord", nodes: "tuple[MemberNode, ...]", jobs: "tuple[ClusterJob, ...]"
) -> str:
    content = {
        "name": record.name,
        "address": record.address,
        "dashboard": record.dashboard,
        "token_file": str(record.token_file),
        "nodes": [
            {
                "id": node.id,
                "labels": dict(node.labels),
                "resources": dict(node.resources),
                "draining": node.draining,
            }
            for node in nodes
        ],
        "jobs": [
            {"id": job.id, "status": job.status, "entrypoint": job.entrypoint} for job in jobs
        ],
    }
    return json.dumps(content, indent=2)


def _as_text(
    record: "ClusterRecord", nodes: "tuple[MemberNode, ...]", jobs: "tuple[ClusterJob, ...]"
) -> str:
    lines = [
        f'cluster "{record.name}" at {record.address}',
        f"  dashboard  {record.dashboard}",
        f"  token      {record.token_file}",
        f"nodes: {len(nodes)}",
    ]
    for node in nodes:
        cpus, gpus = node.resources.get("CPU", 0.0), node.resources.get("GPU", 0.0)
        leaving = "  is being drained" if node.draining else ""
        lines.append(f"  {node.short_id}  {node.role:<13}  {cpus:g} CPUs  {gpus:g} GPUs{leaving}")
    lines.append(f"jobs: {len(jobs) or 'none'}")
    lines += [f"  {job.id}  {job.status:<9}  {job.entrypoint}" for job in jobs]
    return "\n".join(lines)
