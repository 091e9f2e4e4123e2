"""What happens to each batch of rows before training."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from orchestrator.spec.base import Arguments, Count, NonNegative, Positive, SpecModel, WorkerRange
from orchestrator.symbols import Reference

Split = Literal["train", "validation"]


class TransformSpec(SpecModel):
    """One step of preprocessing, with the resources it needs."""

    use: Reference = Field(
        description="Function, or class made once per worker, that maps a batch to a batch."
    )
    with_: Arguments = Field(
        default_factory=dict,
        validation_alias="with",
        serialization_alias="with",
        description="Keyword arguments for it.",
        json_schema_extra={"default": {}},
    )
    splits: Annotated[tuple[Split, ...], Field(min_length=1)] = Field(
        default=("train", "validation"), description="Splits that it applies to."
    )
    cpus: Positive | None = Field(
        default=None,
        description="CPUs of each worker; setting it asks for an actor pool of its own, "
        "null shares the reading pool.",
    )
    gpus: NonNegative = Field(
        default=0.0,
        description="GPUs of each worker; more than 0 asks for an actor pool of its own.",
    )
    workers: WorkerRange | None = Field(
        default=None,
        description="Workers of an actor pool of its own, [min, max] or one number for both; "
        "null shares the reading pool.",
    )
    batch_rows: Count | None = Field(
        default=None, description="Rows of one call; null passes whole blocks."
    )

    @field_validator("splits")
    @classmethod
    def _no_repeats(cls, splits: tuple[Split, ...]) -> tuple[Split, ...]:
        if len(set(splits)) < len(splits):
            raise ValueError("wanted each split once")
        return splits

    @property
    def has_own_pool(self) -> bool:
        """Whether the transform runs in an actor pool of its own."""
        return self.cpus is not None or self.gpus > 0 or self.workers is not None


def _use_or_mapping(value: object) -> object:
    return {"use": value} if isinstance(value, str) else value


TransformItem = Annotated[
    TransformSpec,
    BeforeValidator(_use_or_mapping, json_schema_input_type=TransformSpec | Reference),
]
