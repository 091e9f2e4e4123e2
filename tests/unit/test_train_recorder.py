"""The lines of a run's records, as their reader understands them."""

import json
import math
from pathlib import Path

import pytest

from orchestrator.jsonl import read_json_lines
from orchestrator.report.records import (
    Event,
    TrainRecord,
    ValidationRecord,
    parse_events,
    parse_records,
)
from orchestrator.train.recorder import Recorder


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path, attempt=3, clock=lambda: 12.5)


def test_metrics_are_written_as_the_report_reads_them(recorder: Recorder, tmp_path: Path) -> None:
    recorder.training(
        epoch=1,
        step=20,
        rows=640,
        lr=0.1,
        means={"loss": 0.5, "accuracy": 0.75},
        rows_per_s=100.0,
        wait_share=0.25,
    )
    recorder.validation(epoch=1, step=20, rows=40, means={"loss": math.nan}, seconds=1.5)
    recorder.close()
    trained, validated = parse_records(read_json_lines(tmp_path / "metrics.jsonl"))
    assert trained == TrainRecord(
        time=12.5,
        attempt=3,
        epoch=1,
        step=20,
        loss=0.5,
        lr=0.1,
        rows=640,
        rows_per_s=100.0,
        wait_share=0.25,
        metrics={"accuracy": 0.75},
    )
    assert isinstance(validated, ValidationRecord)
    assert (validated.step, validated.rows, validated.seconds) == (20, 40, 1.5)
    assert math.isnan(validated.metrics["loss"])


def test_a_line_is_one_json_object_in_a_fixed_shape(recorder: Recorder, tmp_path: Path) -> None:
    recorder.validation(epoch=0, step=4, rows=40, means={"loss": 0.5}, seconds=0.1)
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "time": 12.5,
        "attempt": 3,
        "kind": "validation",
        "epoch": 0,
        "step": 4,
        "rows": 40,
        "metrics": {"loss": 0.5},
        "seconds": 0.1,
    }
    recorder.close()


def test_a_checkpoint_is_an_event(recorder: Recorder, tmp_path: Path) -> None:
    recorder.checkpoint(name="step-000000004-003", step=4, size=1000, seconds=0.5, held_s=0.1)
    recorder.close()
    (event,) = parse_events(read_json_lines(tmp_path / "events.jsonl"))
    assert event == Event(
        time=12.5,
        event="checkpoint",
        attempt=3,
        fields={
            "name": "step-000000004-003",
            "step": 4,
            "bytes": 1000,
            "seconds": 0.5,
            "held_s": 0.1,
        },
    )
