"""Tells a cluster what its autoscaler may start, so that jobs are planned before nodes are there.

Ray has a place for it, which its own autoscaler leaves empty (2.60); Ray Data looks there, too. A
head runs `python -m orchestrator.provision.report CONFIG ADDRESS` with the autoscaler's file.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import yaml
from ray._raylet import GcsClient  # type: ignore[attr-defined] # compiled, untyped
from ray.core.generated.autoscaler_pb2 import (  # type: ignore[attr-defined]
    ClusterConfig,
    NodeGroupConfig,
)

from orchestrator.errors import ClusterError


def report_node_types(config: str, *, address: str) -> None:
    """Reports the node types of an autoscaler's configuration.

    Args:
        config: the configuration, as YAML.
        address: of the head's GCS.

    Raises:
        ClusterError: it is no such configuration.
    """
    content = yaml.safe_load(config)
    try:
        head = content["head_node_type"]
        types = cast("Mapping[str, Mapping[str, object]]", content["available_node_types"])
        groups = [_group(name, kind) for name, kind in types.items() if name != head]
    except (TypeError, KeyError, ValueError) as error:
        raise ClusterError(f"no configuration of an autoscaler: {error!r}") from error
    GcsClient(address=address).report_cluster_config(
        ClusterConfig(node_group_configs=groups).SerializeToString()
    )


def _group(name: str, kind: Mapping[str, object]) -> object:
    resources = cast("Mapping[str, float]", kind.get("resources") or {})
    return NodeGroupConfig(
        name=name,
        resources={key: int(amount) for key, amount in resources.items()},
        min_count=int(str(kind.get("min_workers", 0))),
        max_count=int(str(kind["max_workers"])),
    )


if __name__ == "__main__":
    report_node_types(Path(sys.argv[1]).read_text(), address=sys.argv[2])
