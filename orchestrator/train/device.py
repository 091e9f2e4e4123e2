"""On which device a training worker trains."""

import os
from typing import TYPE_CHECKING

from orchestrator.errors import ClusterError, JobFailedError

if TYPE_CHECKING:
    import torch

LOGICAL_GPUS = "ORCHESTRATOR_LOGICAL_GPUS"
"""Set on the nodes of a development cluster, whose GPUs may be mere numbers."""


def training_device(wanted: str) -> "torch.device":
    """The device of this worker, made its current one.

    Args:
        wanted: `training.device`.

    Raises:
        JobFailedError: a GPU is wanted, and the worker was given none.
        ClusterError: it was given one, and torch cannot use it.
    """
    # Only here: whoever starts a cluster wants the name above, and no torch.
    import ray.train.torch
    import torch

    if wanted == "cpu":
        return torch.device("cpu")
    device = ray.train.torch.get_device()
    if device.type != "cuda":
        if wanted == "cuda":
            raise JobFailedError(
                "training.device is cuda, but this worker was given no GPU",
                hint="scaling.gpus_per_worker: 1 asks for one",
            )
        return device
    if torch.cuda.is_available():
        torch.cuda.set_device(device)
        return device
    # Anywhere else, days of training on CPUs would be a surprise.
    if wanted == "auto" and os.environ.get(LOGICAL_GPUS):
        return torch.device("cpu")
    raise ClusterError(
        "this worker was given a GPU, and torch cannot use it: its build, or the driver",
        hint="training.device: cpu trains on CPUs all the same",
    )
