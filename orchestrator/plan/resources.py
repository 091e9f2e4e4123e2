"""What a job needs of a cluster, and whether the cluster has it."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.plan.stages import Stage
from orchestrator.spec.scaling import ScalingSpec
from orchestrator.units import format_count

# Ray schedules the making of window numbers as one task of one CPU, in each stream.
NUMBERING_CPUS = 1.0
# Ray counts in ten-thousandths; sums of fractions are off by less.
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterCapacity:
    """What a cluster offers; `cores` are physical where they are known to be ours alone.

    `memory_bytes` is that of the machine, None where it is not known.
    """

    cpus: float
    gpus: float
    cores: int
    embedded: bool
    memory_bytes: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """One line of the resource plan."""

    what: str
    count: str
    cpus: float
    gpus: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourcePlan:
    """All that runs at once, and the cluster it has to fit."""

    needs: tuple[Need, ...]
    capacity: ClusterCapacity

    @property
    def cpus(self) -> float:
        return sum(need.cpus for need in self.needs)

    @property
    def gpus(self) -> float:
        return sum(need.gpus for need in self.needs)

    def problems(self) -> list[str]:
        """What the cluster lacks; empty where everything fits."""
        found = []
        if self.cpus > self.capacity.cpus + _ROUNDING:
            found.append(self._lack("CPUs", self.cpus, self.capacity.cpus))
        if self.gpus > self.capacity.gpus + _ROUNDING:
            found.append(self._lack("GPUs", self.gpus, self.capacity.gpus))
        return found

    def _lack(self, kind: str, wanted: float, held: float) -> str:
        attribute = "cpus" if kind == "CPUs" else "gpus"
        shares = "; ".join(
            f"{need.what}: {getattr(need, attribute):g}"
            for need in self.needs
            if getattr(need, attribute)
        )
        return f"the job needs {wanted:g} {kind} ({shares}), the cluster has {held:g}"


def auto_workers(
    *, capacity: ClusterCapacity, taken_cpus: float, cpus_of_each: Sequence[float]
) -> int:
    """Workers of each preprocessing pool where the spec leaves it open: one a core, if they fit.

    Args:
        taken_cpus: what everything else in the job needs.
        cpus_of_each: for each such pool, the CPUs of one of its workers.
    """
    free = capacity.cpus - taken_cpus
    fitting = int(free / sum(cpus_of_each) + _ROUNDING) if cpus_of_each else 1
    return max(1, min(fitting, capacity.cores))


def stage_needs(stages: Sequence[Stage], *, what: str) -> list[Need]:
    """The needs of a stream: its pools and the task that numbers its windows."""
    needs = [
        Need(
            what=what if not position else f"{what}, stage {position + 1}",
            count=_span(stage.workers),
            cpus=stage.most_cpus,
            gpus=stage.most_gpus,
        )
        for position, stage in enumerate(stages)
    ]
    return [*needs, Need(what=f"{what}, numbering", count="1", cpus=NUMBERING_CPUS, gpus=0.0)]


def job_resources(
    scaling: ScalingSpec,
    training_stages: Sequence[Stage],
    validation_stages: Sequence[Stage],
    capacity: ClusterCapacity,
) -> ResourcePlan:
    """Everything that a job runs at once; without validation there are no stages of it."""
    needs = [
        Need(
            what="training",
            count=str(scaling.workers),
            cpus=scaling.workers * scaling.cpus_per_worker,
            gpus=scaling.workers * scaling.gpus_per_worker,
        ),
        *stage_needs(training_stages, what="preprocessing"),
    ]
    if validation_stages:
        needs += stage_needs(validation_stages, what="validation")
    return ResourcePlan(needs=tuple(needs), capacity=capacity)


def _span(workers: tuple[int, int]) -> str:
    low, high = workers
    return format_count(low) if low == high else f"{low} to {high}"
