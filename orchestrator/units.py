"""Durations, sizes, intervals and names: how people write them, how we print them."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, ClassVar, Self, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    Strict,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema

_SECONDS = {
    "d": Decimal(86400),
    "h": Decimal(3600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("0.001"),
}
_BYTES = {"B": 1} | {
    prefix + suffix: base**power
    for power, prefix in enumerate("KMGT", start=1)
    for suffix, base in (("B", 1000), ("iB", 1024))
}
# Longer numbers are no mistake of typing but an attack on the parser.
_NUMBER = r"[0-9]{1,18}(?:\.[0-9]{1,18})?"
_DURATION = re.compile(rf"(?:{_NUMBER}(?:ms|[dhms])\s*)+")
_DURATION_PART = re.compile(rf"({_NUMBER})(ms|[dhms])")
_BYTE_SIZE = re.compile(rf"({_NUMBER})\s*([KMGT]i?B|B)")
_INTERVAL = re.compile(r"([0-9]{1,18})\s*(steps?|epochs?)")
# Two units and their seconds, for durations that round to less than the limit.
_DURATION_SCALES = (
    ("m", "s", 60, 1, 3600.0),
    ("h", "m", 3600, 60, 86400.0),
    ("d", "h", 86400, 3600, float("inf")),
)
_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"

WANTED_DURATION = 'wanted a duration such as "500ms", "30s" or "1h30m", or a number of seconds'
WANTED_BYTES = 'wanted a size such as "64MiB", "1GB" or "512KiB", or a number of bytes'
WANTED_INTERVAL = 'wanted an interval such as "100 steps", "2 epochs" or "10m"'


def parse_duration(value: object) -> float:
    """Reads a duration in seconds from text with units, or from a number of seconds.

    Raises:
        ValueError: The value is no duration; the message says what is wanted.
    """
    if isinstance(value, str):
        return _duration_from_text(value.strip())
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15:
        return float(value)
    raise ValueError(WANTED_DURATION)


def _duration_from_text(text: str) -> float:
    if not _DURATION.fullmatch(text):
        raise ValueError(WANTED_DURATION)
    parts = _DURATION_PART.findall(text)
    sizes = [_SECONDS[unit] for _, unit in parts]
    if sizes != sorted(set(sizes), reverse=True):
        raise ValueError(f"{WANTED_DURATION}; units go from the largest to the smallest, each once")
    return float(sum(Decimal(number) * _SECONDS[unit] for number, unit in parts))


def parse_byte_size(value: object) -> int:
    """Reads a number of bytes from text with a unit, or from a whole number.

    Raises:
        ValueError: The value is no size; the message says what is wanted.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63:
        return value
    match = _BYTE_SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(WANTED_BYTES)
    size = Decimal(match[1]) * _BYTES[match[2]]
    if size != size.to_integral_value() or not 0 < size < 2**63:
        raise ValueError(f"{WANTED_BYTES}; a size is a whole number of bytes, greater than 0")
    return int(size)


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    # A lambda, because the function stands below.
    PlainSerializer(lambda seconds: duration_text(seconds), return_type=str),
    WithJsonSchema({"type": ["string", "number"], "format": "duration-text"}),
]
ByteSize = Annotated[
    int,
    BeforeValidator(parse_byte_size),
    WithJsonSchema({"type": ["string", "integer"], "format": "byte-size"}),
]
Name = Annotated[
    str, Strict(), Field(pattern=_NAME_PATTERN, json_schema_extra={"format": "job-name"})
]


class Interval(BaseModel):
    """A distance between two events, in exactly one of steps, epochs and seconds."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    steps: Annotated[int, Strict(), Field(gt=0)] | None = None
    epochs: Annotated[int, Strict(), Field(gt=0)] | None = None
    seconds: Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        if isinstance(value, str):
            return _interval_fields(value.strip())
        if isinstance(value, Interval | Mapping):
            return value
        raise ValueError(WANTED_INTERVAL)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(value is not None for value in (self.steps, self.epochs, self.seconds)) != 1:
            raise ValueError("an interval has exactly one of steps, epochs and seconds")
        return self

    @model_serializer
    def __str__(self) -> str:
        if self.steps is not None:
            return f"{self.steps} step" + "s" * (self.steps != 1)
        if self.epochs is not None:
            return f"{self.epochs} epoch" + "s" * (self.epochs != 1)
        return duration_text(cast("float", self.seconds))

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, object]:
        return {"type": "string", "format": "interval"}


def _interval_fields(text: str) -> dict[str, object]:
    match = _INTERVAL.fullmatch(text)
    if match is not None:
        if int(match[1]) == 0:
            raise ValueError(f"{WANTED_INTERVAL}, longer than nothing")
        return {"steps" if match[2].startswith("step") else "epochs": int(match[1])}
    try:
        seconds = _duration_from_text(text)
    except ValueError:
        raise ValueError(WANTED_INTERVAL) from None
    if seconds <= 0:
        raise ValueError(f"{WANTED_INTERVAL}, longer than nothing")
    return {"seconds": seconds}


def duration_text(seconds: float) -> str:
    """The exact text of a duration: `parse_duration` reads the same number back."""
    exact = Decimal(repr(seconds))
    if exact != exact.to_integral_value():
        thousandths = exact * 1000
        if exact < 1 and thousandths == thousandths.to_integral_value():
            return f"{int(thousandths)}ms"
        return f"{exact:f}s"
    rest, text = int(exact), ""
    for unit, size in (("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def format_duration(seconds: float) -> str:
    """A duration for people, rounded to two units: "1h23m", "4m5s", "12.3s", "850ms"."""
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if round(seconds, 1) < 1:
        return f"{round(seconds * 1000)}ms"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    large, small, per_large, per_small, _ = next(
        scale for scale in _DURATION_SCALES if round(seconds / scale[3]) * scale[3] < scale[4]
    )
    count, rest = divmod(round(seconds / per_small) * per_small, per_large)
    return f"{count}{large}" + (f"{rest // per_small}{small}" if rest else "")


def format_bytes(size: int) -> str:
    """A size for people, in binary units: "64MiB", "1.5GiB", "312B"."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(round(amount, 1)) < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{amount:.1f}".removesuffix(".0") + unit


def format_count(count: int) -> str:
    """A count for people, exact: "1,797"."""
    return f"{count:,}"
