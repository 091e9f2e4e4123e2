"""Runs as a table, a run in full, and both as JSON."""

import json
import math
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.report.details import render_details
from orchestrator.report.history import AttemptHistory
from orchestrator.report.records import Event
from orchestrator.report.row import DamagedRow, RunRow, newest_first
from orchestrator.report.status import RunStatus, run_status
from orchestrator.report.summary import Measured, RunSummary, Throughput
from orchestrator.report.table import render_table
from orchestrator.report.text import format_age
from orchestrator.report.values import ROW_KEYS, SUMMARY_KEYS, rows_json, summary_json

NOW = 1_000_000.0
ROW = RunRow(
    name="digits",
    run_dir=Path("/runs/digits"),
    status=RunStatus(word="finished"),
    steps=46,
    total_steps=46,
    steps_per_epoch=23,
    loss=0.5,
    metrics={"accuracy": 0.9722, "loss": 0.25},
    last_at=NOW - 125,
    attempts=1,
    size=2048,
)
YOUNG = replace(
    ROW,
    name="young",
    status=RunStatus(word="running", reason="by process 1 on here since now"),
    steps=10,
    metrics=None,
    loss=math.nan,
    last_at=NOW + 1,
)
DAMAGED = DamagedRow(
    name="torn",
    run_dir=Path("/runs/torn"),
    reason="plan.json is damaged",
    last_at=NOW - 90_000,
)
ATTEMPT = AttemptHistory(
    number=1,
    parent=None,
    checkpoint=None,
    step=0,
    workers=2,
    driver=1,
    started_at=NOW - 7200,
    seconds=65.0,
    outcome="failed",
    reason="worker 1 died",
)
SUMMARY = RunSummary(
    name="digits",
    run_dir=Path("/runs/digits"),
    status=RunStatus(word="failed", reason="worker 1 died"),
    steps=46,
    total_steps=92,
    steps_per_epoch=23,
    rows=2874,
    validations=(
        Measured(step=23, metrics={"loss": 0.5, "accuracy": 0.8}),
        Measured(step=46, metrics={"loss": math.nan, "accuracy": 0.9}),
    ),
    best=Measured(step=46, metrics={"loss": math.nan, "accuracy": 0.9}),
    best_metric="accuracy",
    throughput=Throughput(train_s=2.0, rows_per_s=1437.0, wait_share=0.1),
    elapsed_s=70.0,
    last_at=NOW - 60,
    attempts=(ATTEMPT, replace(ATTEMPT, number=2, parent=1, checkpoint="step-000000023-001")),
    restarts=1,
    checkpoints=("step-000000023-001", "step-000000046-002"),
    best_checkpoint="step-000000046-002",
    events=(
        Event(time=NOW - 100, event="attempt-failed", attempt=1, fields={"reason": "died"}),
        Event(time=NOW - 90, event="checkpoint-set-aside", fields={"name": "x", "reason": "y"}),
        Event(time=NOW - 80, event="failed", fields={"reason": "no\nray", "exit_code": 3}),
    ),
    log_file=None,
    sizes={"checkpoints": 2048},
)


def table(width: int) -> list[str]:
    return render_table([YOUNG, ROW, DAMAGED], now=NOW, width=width).plain.splitlines()


def test_a_wide_table_has_everything() -> None:
    assert table(100) == [
        "run     status    steps  epochs  attempts  size  last word  measured",
        "young   running   10/46  0.43/2         1  2KiB  just now   training loss nan",
        "digits  finished  46/46     2/2         1  2KiB  2m ago     loss 0.25  accuracy 0.9722",
        "torn    damaged                                  1d ago",
        "",
        "torn: plan.json is damaged",
    ]


def test_a_narrow_table_gives_up_columns_before_what_was_measured() -> None:
    assert table(60)[:3] == [
        "run     status    steps  last word  measured",
        "young   running   10/46  just now   training loss nan",
        "digits  finished  46/46  2m ago     loss 0.25  ...",
    ]


def test_names_are_never_cut() -> None:
    long = replace(ROW, name="n" * 63)
    lines = render_table([long], now=NOW, width=60).plain.splitlines()
    assert lines[1].startswith("n" * 63 + "  finished  46/46")


def test_the_run_that_did_something_last_comes_first() -> None:
    assert newest_first([DAMAGED, ROW, YOUNG]) == [YOUNG, ROW, DAMAGED]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-9, "just now"), (4, "just now"), (59, "59s ago"), (60, "1m ago"), (3599, "59m ago"),
     (7300, "2h ago"), (86400 * 40, "40d ago")],
)  # fmt: skip
def test_an_age_has_one_unit(seconds: float, text: str) -> None:
    assert format_age(seconds) == text


def details(summary: RunSummary, width: int) -> list[str]:
    console = Console(file=StringIO(), width=width, force_terminal=False)
    console.print(render_details(summary, now=NOW, width=width), crop=False)
    assert isinstance(console.file, StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_a_run_in_full_tells_each_trouble_once(width: int) -> None:
    lines = details(SUMMARY, width)
    assert max(map(len, lines)) <= width
    assert lines[:4] == [
        "digits  failed",
        "",
        "  why          worker 1 died",
        "  trained      46 of 92 steps  2 of 4 epochs  2,874 rows",
    ]
    attempts = lines[lines.index("attempts") :]
    assert attempts[1].startswith("  1  from the beginning       ")
    assert attempts[1].endswith("2 workers  failed after 1m5s")
    assert attempts[2] == "     worker 1 died"
    assert attempts[3].startswith("  2  from step-000000023-001")
    validations = lines[lines.index("validations") :]
    assert [line.split() for line in validations[1:4]] == [
        ["step", "epoch", "loss", "accuracy"],
        ["23", "1", "0.5", "0.8"],
        ["46", "2", "nan", "0.9", "best", "accuracy"],
    ]
    troubles = lines[lines.index("troubles") + 2 :]
    assert [line.split(maxsplit=2)[2] for line in troubles] == [
        "set aside  x: y",
        "failed     no ray",
    ]


def test_a_run_with_many_of_everything_shows_the_latest_and_the_best_metric() -> None:
    metrics = {f"metric_{number:02}": number / 7 for number in range(30)}
    validations = tuple(
        Measured(step=step, metrics={**metrics, "accuracy": 0.5, "loss": 1.0})
        for step in range(1, 40)
    )
    attempts = tuple(replace(ATTEMPT, number=number) for number in range(1, 30))
    many = replace(SUMMARY, validations=validations, attempts=attempts)
    lines = details(many, 80)
    assert "attempts  the latest 8 of 29" in lines
    below = lines[lines.index("validations  the latest 8 of 39") :]
    assert below[1].split()[:4] == ["step", "epoch", "loss", "accuracy"]
    assert max(map(len, below)) <= 80


def test_the_json_of_a_list_has_the_keys_that_are_documented() -> None:
    rows = json.loads(json.dumps(rows_json([ROW, YOUNG, DAMAGED]), allow_nan=False))
    assert rows[0].keys() == rows[1].keys() == rows[2].keys()
    assert all(key in ROW_KEYS for key in rows[0])
    assert rows[0]["metrics"] == {"accuracy": 0.9722, "loss": 0.25}
    assert (rows[1]["loss"], rows[1]["metrics"], rows[1]["status"]) == ("NaN", None, "running")
    assert (rows[2]["status"], rows[2]["reason"]) == ("damaged", "plan.json is damaged")


def test_the_json_of_a_run_has_the_keys_that_are_documented() -> None:
    shown = json.loads(json.dumps(summary_json(SUMMARY), allow_nan=False))
    assert all(key in SUMMARY_KEYS for key in shown)
    assert shown["last"] == {"step": 46, "metrics": {"loss": "NaN", "accuracy": 0.9}}
    assert shown["attempts"][1]["checkpoint"] == "step-000000023-001"
    assert all(key in SUMMARY_KEYS for key in shown["attempts"][0])
    assert [event["event"] for event in shown["troubles"]] == [
        "attempt-failed",
        "checkpoint-set-aside",
        "failed",
    ]
    assert (shown["bytes"], shown["log_file"], shown["workers"]) == (2048, None, 2)


def event(name: str, **fields: str) -> Event:
    return Event(time=1.0, event=name, attempt=1, fields=fields)


STARTED, CHECKPOINT = event("attempt-started"), event("checkpoint")


@pytest.mark.parametrize(
    ("events", "word", "reason"),
    [
        ([], "died", "its driver, me, is gone without a word"),
        ([STARTED, CHECKPOINT], "died", "its driver, me, is gone without a word"),
        ([STARTED, event("attempt-failed", reason="x")], "died", "its driver, me, is gone"),
        ([STARTED, event("finished"), CHECKPOINT], "finished", None),
        ([STARTED, event("stopped"), event("interrupted")], "interrupted", None),
        ([STARTED, event("stopped")], "interrupted", None),
        ([STARTED, event("attempt-failed"), event("failed", reason="x")], "failed", "x"),
        ([event("failed", reason="x"), STARTED], "died", "its driver, me, is gone"),
        ([event("interrupted"), STARTED, event("finished")], "finished", None),
    ],
)
def test_the_last_word_tells_how_a_run_stands(
    events: list[Event], word: str, reason: str | None
) -> None:
    status = run_status(events, driver="me", alive=False)
    assert status.word == word
    assert (status.reason or "").startswith(reason or "")
    assert (status.reason is None) == (reason is None)
    assert run_status(events, driver="me", alive=True) == RunStatus(word="running", reason="by me")
