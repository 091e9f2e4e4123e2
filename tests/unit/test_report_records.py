"""Parsing the lines of metrics.jsonl and events.jsonl."""

import math

import pytest

from orchestrator.jsonl import JsonObject
from orchestrator.report.records import (
    Event,
    TrainRecord,
    ValidationRecord,
    parse_events,
    parse_records,
)

TRAIN: JsonObject = {
    "time": 10.5,
    "attempt": 1,
    "kind": "train",
    "epoch": 0,
    "step": 20,
    "loss": 0.25,
    "lr": 0.001,
    "rows": 1280,
    "rows_per_s": 640,
    "wait_share": 0.05,
    "metrics": {"accuracy": 0.5},
}
VALIDATION: JsonObject = {
    "time": 11.0,
    "attempt": 1,
    "kind": "validation",
    "epoch": 0,
    "step": 20,
    "rows": 360,
    "metrics": {"loss": 0.5, "accuracy": 1},
    "seconds": 0.4,
}


def test_a_train_line_becomes_a_train_record() -> None:
    assert parse_records([TRAIN]) == [
        TrainRecord(
            time=10.5,
            attempt=1,
            epoch=0,
            step=20,
            loss=0.25,
            lr=0.001,
            rows=1280,
            rows_per_s=640.0,
            wait_share=0.05,
            metrics={"accuracy": 0.5},
        )
    ]


def test_a_validation_line_becomes_a_validation_record() -> None:
    assert parse_records([VALIDATION]) == [
        ValidationRecord(
            time=11.0,
            attempt=1,
            epoch=0,
            step=20,
            rows=360,
            seconds=0.4,
            metrics={"loss": 0.5, "accuracy": 1.0},
        )
    ]


def test_keys_and_kinds_of_later_versions_are_left_out() -> None:
    later: JsonObject = {"time": 1.0, "kind": "memory", "bytes": 3}
    assert parse_records([{**TRAIN, "new": [1]}, later]) == parse_records([TRAIN])


def test_a_loss_that_is_no_number_is_kept_as_such() -> None:
    (record,) = parse_records([{**TRAIN, "loss": "NaN", "metrics": {"grad": "-Infinity"}}])
    assert isinstance(record, TrainRecord)
    assert math.isnan(record.loss)
    assert record.metrics == {"grad": -math.inf}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": 1.5}, "train line: step: got 1.5, wanted an integer"),
        ({"step": True}, "train line: step: got True, wanted an integer"),
        ({"loss": "low"}, "train line: loss: got 'low', wanted a number"),
        ({"loss": False}, "train line: loss: got False, wanted a number"),
        ({"metrics": [1]}, r"train line: metrics: got \[1\], wanted an object of numbers"),
        ({"metrics": {"a": None}}, "train line: metrics.a: got None, wanted a number"),
    ],
)
def test_a_wrong_value_is_named(change: JsonObject, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        parse_records([{**TRAIN, **change}])


def test_a_missing_value_is_named() -> None:
    line = {key: value for key, value in VALIDATION.items() if key != "seconds"}
    with pytest.raises(
        ValueError, match=r"^validation line: seconds: got nothing, wanted a number"
    ):
        parse_records([line])


def test_an_event_keeps_its_own_fields_in_their_order() -> None:
    line: JsonObject = {"time": 1, "event": "checkpoint", "attempt": 2, "name": "c", "step": 5}
    (event,) = parse_events([line])
    assert event == Event(time=1.0, event="checkpoint", attempt=2, fields={"name": "c", "step": 5})
    assert list(event.fields) == ["name", "step"]
    assert event.step == 5


def test_an_event_may_belong_to_no_attempt_and_no_step() -> None:
    (event,) = parse_events([{"time": 1, "event": "lease-taken", "attempt": None}])
    assert event.attempt is None
    assert event.step is None


def test_an_event_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^event line: event: got nothing, wanted a string$"):
        parse_events([{"time": 1}])
