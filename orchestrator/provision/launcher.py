"""Files for Ray's cluster launcher: a small head, CPU nodes to preprocess, GPU nodes to train.

Whatever depends on the account (groups, networks, projects) stands in them as CHANGE-ME: Ray's own
defaults for it would open SSH to everybody.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from orchestrator.labels import HEAD, PREPROCESSING, ROLE, TRAINING
from orchestrator.spec.job import JobSpec

Config = dict[str, object]

CHANGE = "CHANGE-ME"
TOKEN = "~/.ray/auth_token"
# A node that is idle for so long leaves; starting one takes about as long.
_IDLE_MINUTES = 5
_MOST_OPEN_NODES = 4
DISK_GB = 200
"""Of each node: for the image, and for what Ray spills."""
_RAY = f"RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH={TOKEN.replace('~', '$HOME')}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """An instance type, with what it offers."""

    name: str
    cpus: int
    gpus: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Machines:
    """The instance types of a cluster's three kinds of nodes."""

    head: Machine
    preprocessing: Machine
    training: Machine


def launcher_config(
    spec: JobSpec,
    *,
    provider: Config,
    auth: Config,
    machines: Machines,
    node_configs: Mapping[str, Config],
    image: str,
) -> Config:
    """The configuration, as far as all clouds have it in common.

    Args:
        node_configs: of each role, in the cloud's own words.
        image: container image with the package and the job's code.
    """
    most = {
        PREPROCESSING: preprocessing_nodes(spec, machines),
        TRAINING: training_nodes(spec, machines),
    }
    kinds = {PREPROCESSING: machines.preprocessing, TRAINING: machines.training}
    workers = {
        role: {
            "resources": {"CPU": machine.cpus, **({"GPU": machine.gpus} if machine.gpus else {})},
            "labels": {ROLE: role},
            "min_workers": 0,
            "max_workers": most[role],
            "node_config": node_configs[role],
        }
        for role, machine in kinds.items()
    }
    head = {
        # No work on it, whatever it has.
        "resources": {"CPU": 0},
        "labels": {ROLE: HEAD},
        "node_config": node_configs[HEAD],
    }
    return {
        "cluster_name": spec.name.lower().replace("_", "-").replace(".", "-"),
        "max_workers": sum(most.values()),
        "idle_timeout_minutes": _IDLE_MINUTES,
        "provider": provider,
        "auth": auth,
        "docker": {
            "image": image,
            "container_name": "ray",
            "pull_before_run": True,
            "run_options": ["--ulimit nofile=65536:65536", "--shm-size=30%", "--cap-drop=ALL"],
        },
        "head_node_type": HEAD,
        "available_node_types": {HEAD: head, **workers},
        # The same token on every node, from a file of yours: see docs/cloud.md.
        "file_mounts": {TOKEN: "~/.orchestrator/cloud-token"},
        "setup_commands": [f"chmod 600 {TOKEN}"],
        "head_start_ray_commands": [
            "ray stop",
            f"{_RAY} RAY_enable_autoscaler_v2=1 ray start --head --port=6379"
            " --dashboard-host=127.0.0.1 --num-cpus=0"
            " --autoscaling-config=~/ray_bootstrap_config.yaml",
            # So that jobs are planned before a node is there.
            f"{_RAY} python -m orchestrator.provision.report ~/ray_bootstrap_config.yaml"
            ' "$(hostname -I | cut -d" " -f1):6379"',
        ],
        "worker_start_ray_commands": [
            "ray stop",
            f"{_RAY} ray start --address=$RAY_HEAD_IP:6379",
        ],
    }


def dumped(header: str, config: Config) -> str:
    """The configuration as a file."""
    return header + yaml.safe_dump(config, sort_keys=False, width=100)


def training_nodes(spec: JobSpec, machines: Machines) -> int:
    """Nodes for the most training workers, as many to a node as it has room for."""
    scaling, machine = spec.scaling, machines.training
    shares = [machine.cpus / scaling.cpus_per_worker]
    if scaling.gpus_per_worker:
        shares.append(machine.gpus / scaling.gpus_per_worker)
    return math.ceil(scaling.most_workers / max(1, int(min(shares))))


def preprocessing_nodes(spec: JobSpec, machines: Machines) -> int:
    """Nodes for the largest pool; some, where the spec leaves that open."""
    pool = spec.scaling.preprocessing
    if pool.workers == "auto":
        return _MOST_OPEN_NODES
    cpus = pool.workers[1] * (1.0 if pool.cpus == "auto" else pool.cpus)
    # Its numbering, and validation with its own, are a CPU each.
    return math.ceil((cpus + 3) / machines.preprocessing.cpus)
