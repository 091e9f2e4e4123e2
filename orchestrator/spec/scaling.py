"""How many workers train and preprocess, and with what."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field

from orchestrator.labels import check_selector
from orchestrator.spec.base import (
    Auto,
    Count,
    ElasticRange,
    NonNegative,
    Positive,
    SpecModel,
    WorkerRange,
)
from orchestrator.units import Duration

Selector = Annotated[dict[str, str], AfterValidator(check_selector)]


class PoolSpec(SpecModel):
    """A pool of actors that read and preprocess."""

    workers: WorkerRange | Auto = Field(
        default="auto",
        description='Actors, [min, max] or one number for both; "auto" lets the plan choose.',
    )
    cpus: Positive | Auto = Field(
        default="auto",
        description='CPUs of each actor; "auto" gives it one, or a part of one where a '
        "measurement of the first rows shows that it waits for most of its time.",
    )
    tasks_in_flight: Count | Auto = Field(
        default="auto",
        description="Calls queued at each actor, so that it never waits for the next one; "
        '"auto" lets a measurement of the first rows choose.',
    )
    labels: Selector | Auto = Field(
        default="auto",
        description="Labels that a node of the pool must have, as Ray selects by them; "
        '"auto" takes the nodes labelled "role: preprocessing" where there are any, and so keeps '
        "off those with GPUs.",
    )


class ValidationPoolSpec(PoolSpec):
    """A pool of actors for validation, small by default."""

    workers: WorkerRange | Auto = Field(
        default=(1, 1),
        description='Actors, [min, max] or one number for both; "auto" lets the plan choose.',
    )


class ScalingSpec(SpecModel):
    """Workers of training and of preprocessing, and the shape of the stream between them."""

    workers: ElasticRange = Field(
        default=(1, 1),
        description="Training workers; {min, max} takes as many as the cluster has room for.",
        json_schema_extra={"default": 1},
    )
    grow_after: Duration = Field(
        default=60.0,
        description="How long workers train at least before they are stopped, at a checkpoint, to "
        "go on with more of them.",
        json_schema_extra={"default": "1m"},
    )
    cpus_per_worker: Positive = Field(default=1.0, description="CPUs of each training worker.")
    gpus_per_worker: NonNegative = Field(
        default=0.0, description="GPUs of each training worker; 0 trains on CPUs."
    )
    labels: Selector = Field(
        default={},
        description='Labels that a node of training workers must have, such as "role: training"; '
        "on a Ray of its own, which is one machine, they are not looked at.",
    )
    lanes: Count | Auto = Field(
        default="auto",
        description="Fixed parts of each global batch, the most workers that can share it; "
        'must divide training.global_batch_size; "auto" lets the plan choose.',
    )
    superblock_steps: Count | Auto = Field(
        default="auto",
        description='Steps that travel in one block of the stream; "auto" lets the plan choose.',
    )
    prefetch_blocks: Count | Auto = Field(
        default="auto",
        description="Blocks that a training worker fetches ahead of the one in hand; "
        '"auto" lets a measurement of the first rows choose.',
    )
    preprocessing: PoolSpec = Field(
        default_factory=PoolSpec, description="Pool that reads and preprocesses training rows."
    )
    validation: ValidationPoolSpec = Field(
        default_factory=ValidationPoolSpec,
        description="Pool that reads and preprocesses validation rows.",
    )

    @property
    def least_workers(self) -> int:
        return self.workers[0]

    @property
    def most_workers(self) -> int:
        return self.workers[1]

    @property
    def elastic(self) -> bool:
        """Whether the cluster decides how many workers train."""
        return self.least_workers < self.most_workers

    def fixed(self, workers: int) -> Self:
        """The section with just so many training workers."""
        return self.model_copy(update={"workers": (workers, workers)})
