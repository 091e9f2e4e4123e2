"""Transforms grouped into stages: those that share resources share the workers that read."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.labels import Labels
from orchestrator.plan.tuning import Tuning
from orchestrator.spec.scaling import PoolSpec
from orchestrator.spec.transform import Split, TransformSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One pool of workers and the transforms it applies, in order.

    `positions` has for each of them its number among the transforms of the training rows, from 1,
    or 0 where they do without it: what was fitted on the training rows is found again by it.
    `selector` says which labels the nodes of the workers have to have.
    """

    transforms: tuple[TransformSpec, ...]
    positions: tuple[int, ...]
    cpus: float
    gpus: float
    workers: tuple[int, int]
    tasks_in_flight: int
    selector: Labels = ()

    @property
    def most_cpus(self) -> float:
        return self.cpus * self.workers[1]

    @property
    def most_gpus(self) -> float:
        return self.gpus * self.workers[1]


def make_stages(
    transforms: Sequence[TransformSpec],
    *,
    split: Split,
    pool: PoolSpec,
    auto_workers: int,
    tuning: Tuning,
    selector: Labels = (),
) -> tuple[Stage, ...]:
    """The stages of one split; the first one reads.

    A transform that names resources of its own gets a pool of its own; the ones after it go back to
    a pool like the reading one's, because a row cannot return to the workers that read it.
    """
    workers = (auto_workers, auto_workers) if pool.workers == "auto" else pool.workers
    groups: list[list[tuple[TransformSpec, int]]] = [[]]
    own: list[bool] = [False]
    trained = 0
    for transform in transforms:
        trained += "train" in transform.splits
        if split not in transform.splits:
            continue
        apart = transform.has_own_pool
        if apart or own[-1]:
            groups.append([])
            own.append(apart)
        groups[-1].append((transform, trained if "train" in transform.splits else 0))
    stages = []
    for group, apart in zip(groups, own, strict=True):
        settings = group[0][0] if apart else None
        stages.append(
            Stage(
                transforms=tuple(transform for transform, _ in group),
                positions=tuple(position for _, position in group),
                cpus=(settings.cpus if settings and settings.cpus else tuning.cpus),
                gpus=settings.gpus if settings else 0.0,
                workers=(settings.workers if settings and settings.workers else workers),
                tasks_in_flight=tuning.tasks_in_flight,
                selector=selector,
            )
        )
    return tuple(stages)
