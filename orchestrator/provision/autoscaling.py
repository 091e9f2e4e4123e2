"""Ray's configuration of its autoscaler, for nodes that are processes of this machine."""

from collections.abc import Mapping

import yaml

from orchestrator.labels import HEAD, PREPROCESSING, ROLE, TRAINING
from orchestrator.provision.request import Amount, ClusterRequest

_PROVIDER = "orchestrator.provision.provider.OneMachineProvider"
# As that provider names the type of the node that it has not started itself.
_HEAD_TYPE = "ray.head.default"


def autoscaler_config(request: ClusterRequest, *, address: str) -> str:
    """The configuration, as YAML.

    Args:
        address: the head's, to which the nodes connect.
    """
    kinds = {
        PREPROCESSING: (request.cpu_nodes, {"CPU": request.cpus_per_node}),
        TRAINING: (request.gpu_nodes, {"CPU": request.cpus_per_node, "GPU": 1}),
    }
    types = {
        role: _node_type(amount, resources, role)
        for role, (amount, resources) in kinds.items()
        if amount.most
    }
    head = {"resources": {"CPU": request.head_cpus}, "labels": {ROLE: HEAD}}
    config = {
        "cluster_name": request.name,
        "max_workers": request.cpu_nodes.most + request.gpu_nodes.most,
        "idle_timeout_minutes": request.idle_s / 60,
        "provider": {
            "type": "external",
            "module": _PROVIDER,
            "gcs_address": address,
            "launch_multiple": True,
        },
        "head_node_type": _HEAD_TYPE,
        "available_node_types": {
            _HEAD_TYPE: {**head, "node_config": {}, "min_workers": 0, "max_workers": 0},
            **types,
        },
        "auth": {},
        "docker": {},
        "initialization_commands": [],
        "setup_commands": [],
        "head_setup_commands": [],
        "worker_setup_commands": [],
        "head_start_ray_commands": [],
        "worker_start_ray_commands": [],
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
    }
    return yaml.safe_dump(config, sort_keys=False)


def _node_type(amount: Amount, resources: Mapping[str, int], role: str) -> Mapping[str, object]:
    return {
        "resources": dict(resources),
        "labels": {ROLE: role},
        "node_config": {},
        "min_workers": amount.least,
        "max_workers": amount.most,
    }
