"""Whether workers find nodes: a cluster may have the CPUs in all, and no node enough of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from orchestrator.labels import Labels, selects

# Ray counts in ten-thousandths; sums of fractions are off by less.
ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """What one machine of a cluster offers."""

    cpus: float
    gpus: float
    labels: Labels = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """`count` workers that are alike, each of which has to find room on one node.

    `selector` says which labels the node has to have.
    """

    count: int
    cpus: float
    gpus: float
    selector: Labels = ()


def fits_alone(bundle: Bundle, nodes: Sequence[Node]) -> bool:
    """Whether one worker of a kind finds a node that it fits on while nothing else runs."""
    return any(_room(node, bundle) for node in nodes)


def fit_together(bundles: Sequence[Bundle], nodes: Sequence[Node]) -> bool:
    """Whether all workers find room at once, the largest placed first, each where it first fits."""
    # Without GPUs first: Ray, too, keeps what needs none away from them while it can.
    free = sorted(nodes, key=lambda node: node.gpus)
    for bundle in sorted(bundles, key=lambda bundle: (bundle.gpus, bundle.cpus), reverse=True):
        left = bundle.count
        for place, node in enumerate(free):
            taken = min(left, _room(node, bundle))
            left -= taken
            free[place] = replace(
                node, cpus=node.cpus - taken * bundle.cpus, gpus=node.gpus - taken * bundle.gpus
            )
        if left:
            return False
    return True


def largest_number(fits: Callable[[int], bool], limit: int) -> int:
    """The largest number up to `limit` that fits, where fewer always fit if more do; else 0."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _room(node: Node, bundle: Bundle) -> int:
    """How many workers of a kind a node has room for."""
    if not selects(bundle.selector, node.labels):
        return 0
    shares = [
        offered / wanted
        for offered, wanted in ((node.cpus, bundle.cpus), (node.gpus, bundle.gpus))
        if wanted
    ]
    return int(min(shares) + ROUNDING) if shares else bundle.count
