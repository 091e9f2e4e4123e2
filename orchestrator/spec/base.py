"""The base of all spec models and the field types they share."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    Strict,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

# The largest whole number on which all JSON readers agree.
LARGEST_COUNT = 2**53 - 1
_PER_CENT = re.compile(r"[0-9]{1,3}(\.[0-9]{1,9})?%")

Count = Annotated[int, Strict(), Field(gt=0, le=LARGEST_COUNT)]
Whole = Annotated[int, Strict(), Field(ge=0, le=LARGEST_COUNT)]
Positive = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False)]
BelowOne = Annotated[float, Strict(), Field(ge=0, lt=1, allow_inf_nan=False)]
Flag = Annotated[bool, Strict()]
# No operating system takes a NUL inside a path or a name.
Text = Annotated[str, Strict(), Field(min_length=1, pattern=r"^[^\x00]+$")]
Auto = Literal["auto"]


class SpecModel(BaseModel):
    """A frozen section of a spec that refuses keys it does not know."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        # One validator is built for the whole job instead of one more for each section.
        defer_build=True,
    )


def problem(message: str, *, at: str = "") -> PydanticCustomError:
    """The error of a validator that rejects a combination.

    Args:
        at: the path of the culprit, from the section that is validated on.
    """
    return PydanticCustomError("spec_problem", "{message}", {"message": message, "at": at})


def one_or_more(value: object) -> object:
    """Lets a single text stand for a list of one."""
    return (value,) if isinstance(value, str) else value


def kind_or_mapping(default: str) -> Callable[[object], object]:
    """Lets a bare text stand for `{type: text}`, and a mapping go without its type."""

    def expand(value: object) -> object:
        if isinstance(value, str):
            return {"type": value}
        if isinstance(value, Mapping) and "type" not in value:
            return {"type": default, **value}
        return value

    return expand


def worker_range(value: object) -> tuple[int, int]:
    """Reads `n` or `[min, max]` as a range of workers.

    Raises:
        ValueError: The value is no range with 1 <= min <= max.
    """
    pair = (value, value) if isinstance(value, int) else value
    if isinstance(pair, list | tuple) and len(pair) == 2:
        low, high = pair
        if type(low) is type(high) is int and 1 <= low <= high <= LARGEST_COUNT:
            return low, high
    raise ValueError("wanted a whole number greater than 0, or [min, max] with 1 <= min <= max")


def elastic_range(value: object) -> tuple[int, int]:
    """Reads `n` or `{min, max}` as the fewest and the most training workers.

    Raises:
        ValueError: The value is no range with 1 <= min <= max.
    """
    pair: object = value if isinstance(value, int) else None
    if isinstance(value, Mapping) and value.keys() == {"min", "max"}:
        pair = value["min"], value["max"]
    try:
        return worker_range(pair)
    except ValueError:
        raise ValueError(
            "wanted a whole number greater than 0, or {min: n, max: m} with 1 <= n <= m"
        ) from None


def _written_range(workers: tuple[int, int]) -> int | dict[str, int]:
    low, high = workers
    return low if low == high else {"min": low, "max": high}


def error_budget(value: object) -> int | str:
    """Reads a number of rows, or a part of them as per cent.

    Raises:
        ValueError: The value is neither.
    """
    if type(value) is int and 0 <= value <= LARGEST_COUNT:
        return value
    if isinstance(value, str) and _PER_CENT.fullmatch(value) and float(value[:-1]) <= 100:
        return value
    raise ValueError('wanted a whole number of rows from 0 on, or per cent such as "0.5%"')


def finite(value: JsonValue) -> JsonValue:
    """Returns plain data unchanged.

    Raises:
        ValueError: A number in it is infinite or no number, which no reader of JSON takes.
    """
    match value:
        case float() if not math.isfinite(value):
            raise ValueError("wanted finite numbers only")
        case dict():
            for item in value.values():
                finite(item)
        case list():
            for item in value:
                finite(item)
    return value


Arguments = Annotated[dict[str, JsonValue], AfterValidator(finite)]
Texts = Annotated[
    tuple[Text, ...],
    Field(min_length=1),
    BeforeValidator(one_or_more, json_schema_input_type=tuple[Text, ...] | Text),
]
ErrorBudget = Annotated[
    int | str,
    BeforeValidator(error_budget),
    WithJsonSchema({"type": ["integer", "string"], "minimum": 0, "format": "error-budget"}),
]
WorkerRange = Annotated[
    tuple[int, int],
    BeforeValidator(worker_range),
    WithJsonSchema(
        {
            "type": ["integer", "array"],
            "minimum": 1,
            "items": {"type": "integer", "minimum": 1},
            "minItems": 2,
            "maxItems": 2,
            "format": "worker-range",
        }
    ),
]
ElasticRange = Annotated[
    tuple[int, int],
    BeforeValidator(elastic_range),
    PlainSerializer(_written_range),
    WithJsonSchema(
        {
            "type": ["integer", "object"],
            "minimum": 1,
            # With `properties` it would be a section of its own in the reference.
            "patternProperties": {"^(min|max)$": {"type": "integer", "minimum": 1}},
            "additionalProperties": False,
            "minProperties": 2,
            "format": "elastic-range",
        }
    ),
]
