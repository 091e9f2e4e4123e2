"""What is read and in which order."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from orchestrator.spec.base import Count, ErrorBudget, SpecModel, kind_or_mapping
from orchestrator.spec.source import MixtureSpec, SourceSpec


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


def _with_its_type(value: object) -> object:
    """Lets a source go without its type, and a mixture too: it is known by its `sources`."""
    if isinstance(value, Mapping) and "type" not in value:
        return {"type": "mixture" if "sources" in value else "parquet", **value}
    return value


TrainSpec = Annotated[
    SourceSpec | MixtureSpec,
    Field(discriminator="type"),
    BeforeValidator(
        _with_its_type,
        json_schema_input_type=Annotated[SourceSpec | MixtureSpec, Field(discriminator="type")],
    ),
]


class DatasetSpec(SpecModel):
    """The rows to train on, the rows to validate on, and the order of the former."""

    train: TrainSpec = Field(description="Rows to train on: one source, or several mixed.")
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
    on_error: Literal["fail", "quarantine"] = Field(
        default="fail",
        description="Rows that cannot be read, or on which a transform raises: "
        '"fail" ends the run, "quarantine" looks for them in one pass before training, lists '
        "them in the run's directory and trains on all others.",
    )
    max_errors: ErrorBudget = Field(
        default="1%",
        description="Rows of a split that may be quarantined, as their number or as per cent "
        "of all; more of them end the run.",
    )
