"""On which nodes the workers of a job may be: what the spec asks for, or what the cluster suggests.

On a Ray of its own a job has one machine, and no choice.
"""

from typing import TYPE_CHECKING

from orchestrator.labels import PREPROCESSING, ROLE, Labels, labels_of, selects
from orchestrator.spec.scaling import PoolSpec, ScalingSpec

if TYPE_CHECKING:
    from orchestrator.plan.resources import ClusterCapacity

_FOR_PREPROCESSING = ((ROLE, PREPROCESSING),)


def training_selector(scaling: ScalingSpec, capacity: "ClusterCapacity") -> Labels:
    """Which nodes training workers may be on; all where the spec does not say."""
    return () if capacity.embedded else labels_of(scaling.labels)


def pool_selector(scaling: ScalingSpec, pool: PoolSpec, capacity: "ClusterCapacity") -> Labels:
    """Which nodes a pool of preprocessing workers may be on.

    Where the spec leaves it open, those that the cluster has for it, if it has any: so they stay
    away from nodes with GPUs. Validation follows training's preprocessing.
    """
    if capacity.embedded:
        return ()
    asked = scaling.preprocessing.labels if pool.labels == "auto" else pool.labels
    if asked != "auto":
        return labels_of(asked)
    there = any(selects(_FOR_PREPROCESSING, node.labels) for node in capacity.machines)
    return _FOR_PREPROCESSING if there else ()
