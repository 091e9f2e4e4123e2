"""What a job needs of a cluster, and whether the cluster has it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from orchestrator.labels import Labels, shown
from orchestrator.plan.placement import (
    ROUNDING,
    Bundle,
    Node,
    fit_together,
    fits_alone,
    largest_number,
)
from orchestrator.plan.stages import Stage
from orchestrator.plan.where import training_selector
from orchestrator.spec.scaling import ScalingSpec
from orchestrator.units import format_count

# Ray schedules the making of window numbers as one task of one CPU, in each stream.
NUMBERING_CPUS = 1.0
# The one worker that shares out the superblocks of a relaxed stream only copies bytes.
SHARING_CPUS = 0.1
_TRAINING = "training"
# Kinds of node that a message lists.
_SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterCapacity:
    """What a cluster offers; `cores` are physical where they are known to be ours alone.

    `nodes` is empty for a single machine. `free` is what others have left of a cluster that is
    shared, None where nobody else is on it. `memory_bytes` is that of the machine, None where it
    is not known.
    """

    cpus: float
    gpus: float
    cores: int
    embedded: bool
    nodes: tuple[Node, ...] = ()
    free: Node | None = None
    memory_bytes: int | None = None

    @property
    def machines(self) -> tuple[Node, ...]:
        """What each machine offers."""
        return self.nodes or (Node(cpus=self.cpus, gpus=self.gpus),)


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """One line of the resource plan: workers that are alike, from `least` to `most` of them."""

    what: str
    least: int = 1
    most: int = 1
    cpus_each: float
    gpus_each: float = 0.0
    selector: Labels = ()

    @property
    def count(self) -> str:
        low, high = format_count(self.least), format_count(self.most)
        return low if low == high else f"{low} to {high}"

    @property
    def cpus(self) -> float:
        return self.most * self.cpus_each

    @property
    def gpus(self) -> float:
        return self.most * self.gpus_each

    @property
    def bundle(self) -> Bundle:
        return Bundle(
            count=self.most, cpus=self.cpus_each, gpus=self.gpus_each, selector=self.selector
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourcePlan:
    """All that runs at once, and the cluster it has to fit."""

    needs: tuple[Need, ...]
    capacity: ClusterCapacity

    @property
    def training_selector(self) -> Labels:
        """Which labels the nodes of the training workers have to have."""
        return next(need.selector for need in self.needs if need.what == _TRAINING)

    @property
    def cpus(self) -> float:
        return sum(need.cpus for need in self.needs)

    @property
    def gpus(self) -> float:
        return sum(need.gpus for need in self.needs)

    def problems(self) -> list[str]:
        """What the cluster lacks; empty where everything fits."""
        found = [*self._lacking(), *self._too_large()]
        if not found and not self._fits(self.needs):
            workers = "; ".join(
                f"{need.what}: {need.most} x {_size(need.cpus_each, need.gpus_each)}"
                for need in self.needs
            )
            found.append(
                f"the workers do not fit on the nodes together ({workers}); there are"
                f" {_described(self.capacity.machines)}"
            )
        return found

    def most_workers(self) -> int:
        """The most training workers, fewer than are asked for, that fit beside everything else."""

        def fits(workers: int) -> bool:
            return self._fits(
                [
                    replace(need, least=workers, most=workers) if need.what == _TRAINING else need
                    for need in self.needs
                ]
            )

        asked = sum(need.most for need in self.needs if need.what == _TRAINING)
        return largest_number(fits, max(0, asked - 1))

    def waits_for(self) -> str | None:
        """What others have to let go of first, where the cluster is shared and busy."""
        free = self.capacity.free
        if free is None:
            return None
        short = [
            f"{amount(wanted, kind)}, of which {max(0.0, left):g} are free now"
            for kind, wanted, left in (("CPU", self.cpus, free.cpus), ("GPU", self.gpus, free.gpus))
            if wanted > left + ROUNDING
        ]
        if not short:
            return None
        return (
            f"the job needs {' and '.join(short)}, because others use the cluster: it waits until"
            " they let go of the rest"
        )

    def _lacking(self) -> Iterator[str]:
        cpus = [(need.what, need.cpus) for need in self.needs]
        gpus = [(need.what, need.gpus) for need in self.needs]
        for unit, shares, held in (
            ("CPU", cpus, self.capacity.cpus),
            ("GPU", gpus, self.capacity.gpus),
        ):
            wanted = sum(share for _, share in shares)
            if wanted > held + ROUNDING:
                listed = "; ".join(f"{what}: {share:g}" for what, share in shares if share)
                yield f"the job needs {amount(wanted, unit)} ({listed}), the cluster has {held:g}"

    def _too_large(self) -> Iterator[str]:
        machines = self.capacity.machines
        if len(machines) == 1 and not machines[0].labels:
            return  # What one machine lacks is what the cluster lacks.
        for need in self.needs:
            if need.most and not fits_alone(need.bundle, machines):
                asked = _size(need.cpus_each, need.gpus_each)
                on = f" on a node with {shown(need.selector)}" if need.selector else ""
                yield (
                    f"{need.what}: a worker asks for {asked}{on}, and no node has that; there are"
                    f" {_described(machines)}"
                )

    def _fits(self, needs: Sequence[Need]) -> bool:
        return fit_together([need.bundle for need in needs], self.capacity.machines)


def auto_workers(
    *, capacity: ClusterCapacity, taken: Sequence[Need], pools: Sequence[Stage], most: int
) -> int:
    """Workers of each preprocessing pool where the spec leaves it open: `most`, if they fit.

    Args:
        taken: what everything else in the job needs.
        pools: the pools that are left open.
    """
    if not pools:
        return 1
    fixed = [need.bundle for need in taken]

    def fits(workers: int) -> bool:
        own = [
            Bundle(count=workers, cpus=pool.cpus, gpus=pool.gpus, selector=pool.selector)
            for pool in pools
        ]
        return fit_together([*fixed, *own], capacity.machines)

    return max(1, largest_number(fits, most))


def stage_needs(stages: Sequence[Stage], *, what: str, sharing: bool = False) -> list[Need]:
    """The needs of a stream: its pools and the task that numbers its windows.

    Args:
        sharing: whether it has a worker that shares out the superblocks.
    """
    needs = [
        Need(
            what=what if not position else f"{what}, stage {position + 1}",
            least=stage.workers[0],
            most=stage.workers[1],
            cpus_each=stage.cpus,
            gpus_each=stage.gpus,
            selector=stage.selector,
        )
        for position, stage in enumerate(stages)
    ]
    # They follow the rows.
    place = stages[0].selector
    needs.append(Need(what=f"{what}, numbering", cpus_each=NUMBERING_CPUS, selector=place))
    if sharing:
        needs.append(Need(what=f"{what}, sharing out", cpus_each=SHARING_CPUS, selector=place))
    return needs


def job_resources(
    scaling: ScalingSpec,
    training_stages: Sequence[Stage],
    validation_stages: Sequence[Stage],
    capacity: ClusterCapacity,
    *,
    relaxed: bool = False,
) -> ResourcePlan:
    """Everything that a job runs at once; without validation there are no stages of it."""
    sharing = relaxed and scaling.most_workers > 1
    needs = [
        Need(
            what=_TRAINING,
            least=scaling.least_workers,
            most=scaling.most_workers,
            cpus_each=scaling.cpus_per_worker,
            gpus_each=scaling.gpus_per_worker,
            selector=training_selector(scaling, capacity),
        ),
        *stage_needs(training_stages, what="preprocessing", sharing=sharing),
    ]
    if validation_stages:
        needs += stage_needs(validation_stages, what="validation")
    return ResourcePlan(needs=tuple(needs), capacity=capacity)


def amount(number: float, unit: str) -> str:
    """A number of units as people write it: 1 CPU, 2 CPUs."""
    return f"{number:g} {unit}" + "s" * (number != 1)


def _own(labels: Labels) -> Labels:
    """Without those that Ray gives to each node."""
    return tuple(pair for pair in labels if not pair[0].startswith("ray.io/"))


def _size(cpus: float, gpus: float) -> str:
    return amount(cpus, "CPU") + (f" and {amount(gpus, 'GPU')}" if gpus else "")


def _described(nodes: Sequence[Node]) -> str:
    """The nodes in words, those that are alike together, the largest first."""
    kinds = Counter((node.gpus, node.cpus, _own(node.labels)) for node in nodes)
    listed = [
        f"{count} node{'s' * (count != 1)} of {_size(cpus, gpus)}"
        + (f" ({shown(labels)})" if labels else "")
        for (gpus, cpus, labels), count in sorted(kinds.items(), reverse=True)
    ]
    return ", ".join(listed[:_SHOWN]) + (", and others" if len(listed) > _SHOWN else "")
