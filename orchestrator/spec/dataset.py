"""What is read and in which order: sources and shuffles."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from orchestrator.spec.base import Count, SpecModel, Text, Texts, kind_or_mapping


class SourceSpec(SpecModel):
    """Files that are read as one table."""

    type: Literal["parquet"] = Field(default="parquet", description="Format of the files.")
    paths: Texts = Field(
        description="Files, folders or globs, relative to runtime.working_dir; "
        "one text stands for a list of one.",
    )
    columns: Annotated[tuple[Text, ...], Field(min_length=1)] | None = Field(
        default=None, description="Columns to read; null reads all of them."
    )

    @field_validator("columns")
    @classmethod
    def _no_repeats(cls, columns: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if columns is not None and len(set(columns)) < len(columns):
            raise ValueError("wanted each column once")
        return columns


class NoShuffle(SpecModel):
    """Rows come in the order of the files."""

    type: Literal["none"] = Field(default="none", description="Rows in the order of the files.")


class FragmentShuffle(SpecModel):
    """Fragments come in random order, the rows of each as they stand."""

    type: Literal["fragments"] = Field(
        default="fragments",
        description="Fragments (row groups) in random order, the rows of each as they stand.",
    )


class WindowShuffle(SpecModel):
    """Rows are permuted inside windows of randomly ordered fragments."""

    type: Literal["window"] = Field(
        default="window",
        description="Fragments in random order, then all rows of a window in random order.",
    )
    rows: Count | Literal["all", "auto"] = Field(
        default="auto",
        description="Rows in a window, rounded up to whole batches (to a multiple of 8 batches "
        'beyond 8); "all" takes the whole table, "auto" lets the plan choose.',
    )


ShuffleSpec = Annotated[
    NoShuffle | FragmentShuffle | WindowShuffle,
    Field(discriminator="type"),
    BeforeValidator(
        kind_or_mapping("window"),
        json_schema_input_type=Annotated[
            NoShuffle | FragmentShuffle | WindowShuffle, Field(discriminator="type")
        ]
        | Literal["none", "fragments", "window"],
    ),
]


class DatasetSpec(SpecModel):
    """The rows to train on, the rows to validate on, and the order of the former."""

    train: SourceSpec = Field(description="Rows to train on.")
    validation: SourceSpec | None = Field(
        default=None, description="Rows to validate on; null means no validation."
    )
    shuffle: ShuffleSpec = Field(
        default_factory=WindowShuffle,
        description="Order of the training rows in each epoch, fixed by the seed and the epoch.",
        json_schema_extra={"default": "window"},
    )
    order: Literal["strict", "relaxed"] = Field(
        default="strict",
        description='Sequence of the training batches: "strict" is that of the shuffle; "relaxed" '
        "trains on the batches of an epoch as they are ready, each once, where some windows take "
        "far longer than others.",
    )
