"""What happens to each batch of rows before training."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from orchestrator.spec.base import (
    Arguments,
    Count,
    NonNegative,
    Positive,
    SpecModel,
    WorkerRange,
    problem,
)
from orchestrator.symbols import Reference

Split = Literal["train", "validation"]
Kind = Literal["map", "filter", "flat_map", "pack"]


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
    kind: Kind = Field(
        default="map",
        description="What becomes of a row: map gives one for one; filter keeps those for which "
        "it returns true; flat_map makes any number of samples of it; pack takes the tokens that "
        "it gives and packs those of all rows into samples of one length. All but map are "
        "counted in a pass over the rows before training.",
    )
    length: Count | None = Field(
        default=None, description="Tokens of a sample, for kind pack, which needs it."
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

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind == "pack" and self.length is None:
            raise problem("kind pack needs length, the tokens of a sample")
        if self.kind != "pack" and self.length is not None:
            raise problem(f"is for kind pack, but kind is {self.kind}", at="length")
        if self.kind != "map" and self.has_own_pool:
            raise problem(
                f"kind {self.kind} is done by the reading pool: wanted no workers of its own"
            )
        return self

    @property
    def changes_rows(self) -> bool:
        """Whether it may give another number of samples than it gets."""
        return self.kind != "map"

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
