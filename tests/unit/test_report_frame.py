"""What a frame of the progress display and a line about an event look like."""

from collections.abc import Mapping
from io import StringIO

import pytest
from pydantic import JsonValue
from rich.console import Console
from rich.spinner import Spinner

from orchestrator.report.frame import RunLength, View, draw
from orchestrator.report.happenings import of_event
from orchestrator.report.pace import Pace
from orchestrator.report.records import Event, TrainRecord
from orchestrator.report.text import format_metrics, format_number, format_share

LENGTH = RunLength(total_steps=100, steps_per_epoch=10, epochs=10)


def train(step: int, *, time: float = 0.0) -> TrainRecord:
    return TrainRecord(
        time=time,
        attempt=1,
        epoch=0,
        step=step,
        loss=0.123456,
        lr=0.1,
        rows=step * 64,
        rows_per_s=640.0,
        wait_share=0.034,
    )


def make_console(width: int) -> Console:
    return Console(
        file=StringIO(),
        force_terminal=True,
        width=width,
        color_system=None,
        _environ={"TERM": "xterm"},
    )


def drawn(
    view: View, *, length: RunLength = LENGTH, now: float = 0.0, width: int = 80
) -> list[str]:
    console = make_console(width)
    console.print(draw(view, length, now=now, console=console, spinner=Spinner("dots")))
    assert isinstance(console.file, StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_frame_fits_the_terminal(width: int) -> None:
    length = RunLength(total_steps=123_456, steps_per_epoch=1000, epochs=124)
    view = View(step=98_765, record=train(98_765), eta_s=36_000.0)
    lines = drawn(view, length=length, width=width)
    assert len(lines) == 2
    assert all(len(line) <= width for line in lines)
    assert lines[0].startswith("epoch  99/124")
    assert "step  98,765/123,456   80%" in lines[0]
    assert lines[1].startswith("loss 0.1235  640 rows/s  data wait 3.4%  ETA 10h")


@pytest.mark.parametrize(
    ("view", "now", "lines"),
    [
        pytest.param(View(), 0.0, [], id="nothing known"),
        pytest.param(View(phase="starting Ray"), 0.4, ["⠋ starting Ray"], id="a new phase"),
        pytest.param(View(phase="starting Ray"), 72.0, ["⠋ starting Ray  1m12s"], id="an old one"),
    ],
)
def test_before_training_a_frame_shows_the_phase(view: View, now: float, lines: list[str]) -> None:
    assert drawn(view, now=now) == lines


def test_a_resumed_run_shows_its_bar_with_the_phase() -> None:
    view = View(step=50, phase="waiting for the first batch")
    bar, phase = drawn(view)
    assert "epoch  5/10" in bar
    assert "step  50/100   50%" in bar
    assert "waiting for the first batch" in phase


@pytest.mark.parametrize(
    ("silent_s", "usual_s", "said"),
    [(9.0, 0.5, False), (11.0, 0.5, True), (50.0, 20.0, False), (61.0, 20.0, True)],
)
def test_a_frame_says_when_no_step_has_come_for_unusually_long(
    silent_s: float, usual_s: float, said: bool
) -> None:
    view = View(step=50, record=train(50), since=5.0, usual_s=usual_s)
    numbers = drawn(view, now=5.0 + silent_s)[1]
    assert ("no step for" in numbers) == said


@pytest.mark.parametrize(
    ("step", "epoch"), [(0, 1), (1, 1), (400, 1), (401, 2), (1000, 3), (1600, 3)]
)
def test_the_last_step_of_an_epoch_belongs_to_it(step: int, epoch: int) -> None:
    length = RunLength(total_steps=1000, steps_per_epoch=400, epochs=3)
    assert length.epoch_of(step) == f"epoch {epoch}/3"


def test_the_pace_is_that_of_the_last_minute() -> None:
    pace = Pace()
    pace.add(train(10, time=0.0))
    pace.add(train(20, time=100.0))
    pace.add(train(30, time=110.0))
    pace.add(train(60, time=120.0))
    assert pace.seconds_for(40) == pytest.approx(20.0)


def test_the_pace_of_one_record_is_its_throughput() -> None:
    pace = Pace()
    assert pace.seconds_for(10) is None
    pace.add(train(10))
    assert pace.seconds_for(30) == pytest.approx(3.0)


def test_a_pace_of_nothing_is_unknown() -> None:
    pace = Pace()
    pace.add(train(10, time=1.0))
    pace.add(train(10, time=2.0))
    assert pace.seconds_for(30) is None


@pytest.mark.parametrize(
    ("name", "attempt", "fields", "line"),
    [
        ("attempt-started", 1, {"workers": 1, "step": 0}, "step   0  started     on 1 worker"),
        (
            "attempt-started",
            3,
            {"workers": 2, "step": 300, "from_checkpoint": "step-000000300-2"},
            "step 300  resumed     from step-000000300-2 on 2 workers (attempt 3)",
        ),
        (
            "attempt-started",
            2,
            {"workers": 2, "step": 0, "from_checkpoint": None},
            "step   0  started     on 2 workers (attempt 2)",
        ),
        (
            "attempt-failed",
            2,
            {"reason": "worker 1\n\x1b[36mdied\x1b[0m", "step": 312},
            "step 312  failed      attempt 2: worker 1 died",
        ),
        (
            "checkpoint-set-aside",
            2,
            {"name": "step-000000300-1", "reason": "model.pt: wrong checksum"},
            "          set aside   step-000000300-1: model.pt: wrong checksum",
        ),
        (
            "rows-quarantined",
            2,
            {"rows": 3, "source": "a.parquet", "step": 7},
            "step   7  rows-quarantined  rows 3, source a.parquet",
        ),
    ],
)
def test_an_event_is_one_line(
    name: str, attempt: int, fields: Mapping[str, JsonValue], line: str
) -> None:
    happened = Event(time=0.0, event=name, attempt=attempt, fields=fields)
    assert of_event(happened, total_steps=880).as_line().plain == line


def test_on_a_terminal_a_long_event_goes_on_below_where_it_began() -> None:
    console = make_console(60)
    failed = Event(
        time=0.0,
        event="attempt-failed",
        attempt=1,
        fields={"reason": "worker 1 was killed by SIGKILL " + "x" * 40, "step": 312},
    )
    console.print(of_event(failed, total_steps=880).as_grid())
    assert isinstance(console.file, StringIO)
    assert [line.rstrip() for line in console.file.getvalue().splitlines()] == [
        "step 312  failed      attempt 1: worker 1 was killed by",
        "                      SIGKILL",
        "                      " + "x" * 38,
        "                      " + "x" * 2,
    ]


def test_a_very_long_reason_is_cut() -> None:
    failed = Event(time=0.0, event="attempt-failed", fields={"reason": "why " * 1000})
    details = of_event(failed, total_steps=10).details
    assert details.endswith("why ...")
    assert len(details) < 300


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.972222, "0.9722"),
        (1.25e-5, "1.25e-05"),
        (99.996, "100"),
        (12345.6, "12,346"),
        (-1500.0, "-1,500"),
        (3e12, "3e+12"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
    ],
)
def test_a_number_has_four_digits(value: float, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0%"), (0.0001, "0%"), (0.034, "3.4%"), (0.0996, "10%"), (0.125, "12%"), (1.0, "100%")],
)
def test_a_share_is_in_percent(share: float, text: str) -> None:
    assert format_share(share) == text


def test_the_loss_comes_first_of_all_metrics() -> None:
    metrics = {"accuracy": 0.5, "loss": 1.0, "f1": 0.25}
    assert format_metrics(metrics) == ["loss 1", "accuracy 0.5", "f1 0.25"]
