"""When checkpoints are made, where, and which are kept."""

from typing import Literal

from pydantic import Field, field_validator

from orchestrator.spec.base import Count, SpecModel, Text, problem
from orchestrator.spec.place import problem_of_place
from orchestrator.units import Interval

DEFAULT_STORAGE = "runs"


class BestSpec(SpecModel):
    """Which checkpoints count as the best."""

    metric: Text = Field(description='Validation metric that decides, such as "accuracy".')
    mode: Literal["min", "max"] = Field(
        default="min", description="Whether the smallest or the largest value is best."
    )
    keep: Count = Field(default=1, description="Best checkpoints to keep.")


class CheckpointSpec(SpecModel):
    """Where the run lives, how often it is saved and what is kept."""

    storage: Text = Field(
        default=DEFAULT_STORAGE,
        description="Directory that holds the run directories, relative to runtime.working_dir.",
    )
    every: Interval = Field(
        default=Interval(seconds=300.0),
        description="Steps, epochs or time between checkpoints.",
    )
    keep_latest: Count = Field(default=2, description="Newest checkpoints to keep.")
    best: BestSpec | None = Field(
        default=None, description="Best checkpoints to keep besides the newest; null keeps none."
    )
    keep_every: Count | None = Field(
        default=None,
        description="Steps: the first checkpoint at or after each multiple of them is never"
        " deleted; null keeps none so.",
    )
    ledger: bool = Field(
        default=True,
        description="Whether to record which rows made which step, for `orchestrator audit`.",
    )
    mirror: Text | None = Field(
        default=None,
        description="Another storage that every checkpoint is copied to, behind the training: "
        "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or a directory relative to runtime.working_dir.",
    )

    @field_validator("mirror")
    @classmethod
    def _mirror_is_a_place(cls, mirror: str | None) -> str | None:
        if mirror is not None and (wrong := problem_of_place(mirror)):
            raise problem(wrong)
        return mirror
