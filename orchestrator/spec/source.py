"""What rows are read from: one source, or several in given proportions."""

import difflib
import re
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from orchestrator.spec.base import Count, NonNegative, SpecModel, Text, Texts, problem

# As identifiers are, so that a name can stand in a path: dataset.train.sources.web.
NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"
# Where a mixture stands in a spec: only training rows are mixed.
_SOURCES, _SCHEDULE = "sources", "schedule"


def _no_repeats(columns: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(columns)) < len(columns):
        raise ValueError("wanted each column once")
    return columns


Columns = Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(_no_repeats)]


class SourceSpec(SpecModel):
    """Files that are read as one table."""

    type: Literal["parquet"] = Field(default="parquet", description="Format of the files.")
    paths: Texts = Field(
        description="Files, folders or globs, relative to runtime.working_dir; "
        "one text stands for a list of one.",
    )
    columns: Columns | None = Field(
        default=None, description="Columns to read; null reads all of them."
    )


class MixedSourceSpec(SpecModel):
    """Files that are read as one table, and how much of the mixture they make."""

    type: Literal["parquet"] = Field(default="parquet", description="Format of the files.")
    paths: Texts = Field(
        description="Files, folders or globs, relative to runtime.working_dir; "
        "one text stands for a list of one.",
    )
    weight: NonNegative = Field(
        description="Share of the rows that come from here, beside the weights of the others; "
        "0 gives none until the schedule raises it.",
    )


class WeightsSpec(SpecModel):
    """Other weights from a position on."""

    from_: Count = Field(
        validation_alias="from",
        serialization_alias="from",
        description="Rows trained on, through all epochs, before these weights hold.",
    )
    weights: dict[str, NonNegative] = Field(
        description="Weight of each source by its name; 0 gives none."
    )


class MixtureSpec(SpecModel):
    """Several sources with the same columns, mixed by weight."""

    type: Literal["mixture"] = Field(default="mixture", description="Several sources, mixed.")
    sources: dict[str, MixedSourceSpec] = Field(
        min_length=1,
        description="The sources by name: letters, digits and underscores.",
        json_schema_extra={"propertyNames": {"pattern": NAME_PATTERN}},
    )
    columns: Columns | None = Field(
        default=None, description="Columns to read from every source; null reads all of them."
    )
    schedule: tuple[WeightsSpec, ...] = Field(
        default=(), description="Changes of the weights, by position; empty keeps them as they are."
    )

    @property
    def phases(self) -> tuple[tuple[int, tuple[float, ...]], ...]:
        """From which row on which weights hold, in the order of the sources."""
        first = tuple(source.weight for source in self.sources.values())
        later = (
            (entry.from_, tuple(entry.weights[name] for name in self.sources))
            for entry in self.schedule
        )
        return ((0, first), *later)

    @model_validator(mode="after")
    def _names_can_stand_in_paths(self) -> Self:
        for name in self.sources:
            if not re.fullmatch(NAME_PATTERN, name):
                raise problem(
                    f"the name {name!r} of a source is not of 1 to 63 letters, digits and"
                    " underscores, the first of them no digit",
                    at=f"{_SOURCES}.{name}",
                )
        return self

    @model_validator(mode="after")
    def _schedule_knows_the_sources(self) -> Self:
        for number, entry in enumerate(self.schedule):
            at = f"{_SCHEDULE}.{number}.weights"
            for name in entry.weights:
                if name not in self.sources:
                    raise problem(
                        f"there is no source of this name{_nearest(name, self.sources)}"
                        f" there are {', '.join(self.sources)}",
                        at=f"{at}.{name}",
                    )
            missing = [name for name in self.sources if name not in entry.weights]
            if missing:
                raise problem(
                    f"no weight for {', '.join(missing)}; wanted one for every source, where 0"
                    " gives none of it",
                    at=at,
                )
        return self

    @model_validator(mode="after")
    def _schedule_goes_forward(self) -> Self:
        before = 0
        for number, entry in enumerate(self.schedule):
            if entry.from_ <= before:
                raise problem(
                    f"got {entry.from_} after {before}, wanted positions that rise",
                    at=f"{_SCHEDULE}.{number}.from",
                )
            before = entry.from_
        return self

    @model_validator(mode="after")
    def _each_source_comes_some_time(self) -> Self:
        if not any(source.weight for source in self.sources.values()):
            raise problem("all weights are 0, wanted one above it", at=_SOURCES)
        for number, entry in enumerate(self.schedule):
            if not any(entry.weights.values()):
                raise problem(
                    "all weights are 0, wanted one above it", at=f"{_SCHEDULE}.{number}.weights"
                )
        for name, source in self.sources.items():
            if not source.weight and not any(entry.weights[name] for entry in self.schedule):
                raise problem(
                    "the weight is 0, and no entry of dataset.train.schedule raises it",
                    at=f"{_SOURCES}.{name}.weight",
                )
        return self


def _nearest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f'; did you mean "{close[0]}"?' if close else ";"
