"""The lines of metrics.jsonl and events.jsonl as values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.jsonl import JsonObject

if TYPE_CHECKING:
    from pydantic import JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRecord:
    """How training went over the steps since the previous record.

    Attributes:
        time: seconds since 1970, by the writer's clock.
        step: how many steps of the whole run are done.
        rows: how many rows the whole run has trained on.
        wait_share: the part of the time spent waiting for data, 0 to 1.
    """

    time: float
    attempt: int
    epoch: int
    step: int
    loss: float
    lr: float
    rows: int
    rows_per_s: float
    wait_share: float
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationRecord:
    """What one pass over the validation rows measured.

    Attributes:
        time: seconds since 1970, by the writer's clock.
        step: how many steps the measured model was trained for.
        rows: how many validation rows were measured.
        seconds: how long the pass took.
    """

    time: float
    attempt: int
    epoch: int
    step: int
    rows: int
    seconds: float
    metrics: Mapping[str, float]


Record = TrainRecord | ValidationRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened once: an attempt, a checkpoint, a fault.

    Attributes:
        time: seconds since 1970, by the writer's clock.
        attempt: the attempt it belongs to, None if to none.
        fields: what else the line says.
    """

    time: float
    event: str
    attempt: int | None = None
    fields: Mapping[str, "JsonValue"] = field(default_factory=dict)

    @property
    def step(self) -> int | None:
        """The step it happened at, None if it has none."""
        step = self.fields.get("step")
        return step if isinstance(step, int) else None


def parse_records(lines: Iterable[JsonObject]) -> list[Record]:
    """Returns the records in the lines of metrics.jsonl; lines of another kind are left out.

    Raises:
        ValueError: a record lacks a value, or has one of the wrong type.
    """
    records: list[Record] = []
    for line in lines:
        match line.get("kind"):
            case "train":
                records.append(_train_record(line))
            case "validation":
                records.append(_validation_record(line))
    return records


def parse_events(lines: Iterable[JsonObject]) -> list[Event]:
    """Returns the events in the lines of events.jsonl.

    Raises:
        ValueError: an event has no time or no name.
    """
    return [_event(line) for line in lines]


def _train_record(line: JsonObject) -> TrainRecord:
    return TrainRecord(
        time=_number(line, "time"),
        attempt=_integer(line, "attempt"),
        epoch=_integer(line, "epoch"),
        step=_integer(line, "step"),
        loss=_number(line, "loss"),
        lr=_number(line, "lr"),
        rows=_integer(line, "rows"),
        rows_per_s=_number(line, "rows_per_s"),
        wait_share=_number(line, "wait_share"),
        metrics=_numbers(line, "metrics"),
    )


def _validation_record(line: JsonObject) -> ValidationRecord:
    return ValidationRecord(
        time=_number(line, "time"),
        attempt=_integer(line, "attempt"),
        epoch=_integer(line, "epoch"),
        step=_integer(line, "step"),
        rows=_integer(line, "rows"),
        seconds=_number(line, "seconds"),
        metrics=_numbers(line, "metrics"),
    )


def _event(line: JsonObject) -> Event:
    name = line.get("event")
    if not isinstance(name, str):
        raise _wrong(line, "event", "a string")
    return Event(
        time=_number(line, "time"),
        event=name,
        attempt=None if line.get("attempt") is None else _integer(line, "attempt"),
        fields={key: line[key] for key in line if key not in {"time", "event", "attempt"}},
    )


def _integer(line: JsonObject, key: str) -> int:
    value = line.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(line, key, "an integer")
    return value


def _number(line: JsonObject, key: str) -> float:
    match line.get(key):
        case bool():
            pass
        case int() | float() as value:
            return float(value)
        # What JsonLinesWriter makes of the numbers that JSON does not have.
        case "NaN" | "Infinity" | "-Infinity" as value:
            return float(value)
    raise _wrong(line, key, "a number")


def _numbers(line: JsonObject, key: str) -> dict[str, float]:
    values = line.get(key, {})
    if not isinstance(values, dict):
        raise _wrong(line, key, "an object of numbers")
    flat = {**line, **{f"{key}.{name}": value for name, value in values.items()}}
    return {name: _number(flat, f"{key}.{name}") for name in values}


def _wrong(line: JsonObject, key: str, wanted: str) -> ValueError:
    # The lines of metrics.jsonl have a kind, those of events.jsonl have none.
    kind = line.get("kind", "event")
    got = repr(line[key]) if key in line else "nothing"
    return ValueError(f"{kind} line: {key}: got {got}, wanted {wanted}")
