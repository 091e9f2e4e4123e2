"""The progress of a run on a terminal and elsewhere."""

import threading
from io import StringIO

import pytest
from pydantic import JsonValue
from rich.console import Console

from orchestrator.report.progress import ProgressDisplay
from orchestrator.report.records import Event, TrainRecord, ValidationRecord


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def make_console(*, terminal: bool, width: int = 80, term: str = "xterm") -> Console:
    return Console(
        file=StringIO(),
        force_terminal=terminal,
        width=width,
        color_system=None,
        _environ={"TERM": term},
    )


def shown(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def make_display(console: Console, clock: FakeClock) -> ProgressDisplay:
    return ProgressDisplay(console, total_steps=1200, steps_per_epoch=400, epochs=3, clock=clock)


def train(step: int, *, time: float | None = None, attempt: int = 1) -> TrainRecord:
    return TrainRecord(
        time=step / 10 if time is None else time,
        attempt=attempt,
        epoch=0,
        step=step,
        loss=0.123456,
        lr=0.1,
        rows=step * 64,
        rows_per_s=640.0,
        wait_share=0.034,
    )


def event(name: str, /, *, time: float = 0.0, attempt: int = 1, **fields: JsonValue) -> Event:
    return Event(time=time, event=name, attempt=attempt, fields=fields)


VALIDATION = ValidationRecord(
    time=40.0,
    attempt=1,
    epoch=0,
    step=400,
    rows=360,
    seconds=0.4,
    metrics={"accuracy": 0.97222, "loss": 0.0912},
)


def test_without_a_terminal_progress_is_a_plain_line() -> None:
    console = make_console(terminal=False)
    with make_display(console, FakeClock()) as display:
        display.update([train(400)], [])
    assert shown(console) == (
        "step   400/1,200  epoch 1/3  loss 0.1235  640 rows/s  data wait 3.4%  ETA 1m20s\n"
    )


def test_without_a_terminal_progress_lines_keep_their_distance() -> None:
    console, clock = make_console(terminal=False), FakeClock()
    with make_display(console, clock) as display:
        for step in range(10, 60, 10):
            display.update([train(step)], [])
            clock.now += 0.7
    steps = [line[:16] for line in shown(console).splitlines()]
    assert steps == ["step    10/1,200", "step    40/1,200", "step    50/1,200"]


def test_of_many_records_at_once_the_newest_is_shown() -> None:
    console = make_console(terminal=False)
    with make_display(console, FakeClock()) as display:
        display.update([train(step) for step in range(10, 60, 10)], [])
    assert [line[:16] for line in shown(console).splitlines()] == ["step    50/1,200"]


def test_validations_and_events_are_shown_at_once_and_in_their_order() -> None:
    console = make_console(terminal=False)
    with make_display(console, FakeClock()) as display:
        display.update([train(10)], [])
        saved = event("checkpoint", time=41.0, name="c-400-1", step=400, bytes=2048, seconds=0.3)
        finished = event("finished", time=42.0, step=1200)
        display.update([VALIDATION], [saved, finished])
    assert shown(console).splitlines()[1:] == [
        "step   400  validation  loss 0.0912  accuracy 0.9722  in 400ms",
        "step   400  checkpoint  c-400-1  2KiB  in 300ms",
        "step 1,200  finished",
    ]


def test_without_a_terminal_a_phase_is_said_once() -> None:
    console = make_console(terminal=False)
    with make_display(console, FakeClock()) as display:
        display.phase("starting Ray")
        display.phase("starting Ray")
        display.phase("starting 2 workers")
    assert shown(console) == "starting Ray\nstarting 2 workers\n"


def test_long_lines_stay_whole_in_a_file() -> None:
    console = make_console(terminal=False, width=60)
    reason = "the worker on rank 1 " + "went away and " * 10
    with make_display(console, FakeClock()) as display:
        display.update([], [event("attempt-failed", reason=reason, step=312)])
    (line,) = shown(console).splitlines()
    assert line.endswith(reason.strip())


def test_a_late_record_of_a_succeeded_attempt_is_not_shown() -> None:
    console, clock = make_console(terminal=False), FakeClock()
    with make_display(console, clock) as display:
        display.update([], [event("attempt-started", attempt=2, workers=2, step=40)])
        display.update([train(60, attempt=1)], [])
        clock.now += 10
        display.update([train(50, attempt=2)], [])
    assert [line[:16] for line in shown(console).splitlines()[1:]] == ["step    50/1,200"]


def test_the_last_progress_is_shown_before_the_finish() -> None:
    console = make_console(terminal=False)
    with make_display(console, FakeClock()) as display:
        display.update([train(1190)], [])
        display.update([train(1200)], [event("finished", time=500.0, step=1200)])
    assert [line[:20] for line in shown(console).splitlines()] == [
        "step 1,190/1,200  ep",
        "step 1,200/1,200  ep",
        "step 1,200  finished",
    ]


def test_after_a_failure_the_bar_goes_back_to_where_the_next_attempt_starts() -> None:
    console = make_console(terminal=True)
    with make_display(console, FakeClock()) as display:
        display.update([train(500)], [event("attempt-failed", time=51.0, reason="x", step=505)])
        assert "starting again" in shown(console)
        resumed = event("attempt-started", time=52.0, attempt=2, workers=2, step=400)
        display.update([], [resumed])
        bar, phase = shown(console).splitlines()[-2:]
        assert "step   400/1,200   33%" in bar
        assert "starting 2 workers" in phase


def test_a_transform_that_is_fitted_is_shown_while_it_is_and_afterwards() -> None:
    console = make_console(terminal=True)
    with make_display(console, FakeClock()) as display:
        display.update([], [event("attempt-started", attempt=1, workers=2, step=0)])
        display.update([], [event("fitting", time=51.0, use="pkg.code:Impute")])
        assert "fitting pkg.code:Impute" in shown(console).splitlines()[-1]
        fitted = event("fitted", time=52.0, use="pkg.code:Impute", rows=277_000, seconds=4.0)
        display.update([], [fitted])
        assert "pkg.code:Impute  to 277,000 rows in 4s" in shown(console)
        assert "starting workers" in shown(console).splitlines()[-1]


def test_text_of_others_is_no_markup() -> None:
    console = make_console(terminal=False)
    with make_display(console, FakeClock()) as display:
        display.phase("starting [bold]workers[/bold] :boom:")
        display.update([], [event("attempt-failed", reason="[red]no[/red]", step=1)])
    assert "[bold]workers[/bold] :boom:" in shown(console)
    assert "[red]no[/red]" in shown(console)


def test_a_terminal_shows_a_bar_that_is_left_on_the_screen() -> None:
    console = make_console(terminal=True)
    with make_display(console, FakeClock()) as display:
        display.phase("starting Ray")
        display.update([train(1200)], [])
    bar, numbers, cursor = shown(console).splitlines()[-3:]
    assert "epoch 3/3  ━━━" in bar
    assert "step 1,200/1,200  100%" in bar
    assert numbers.rstrip() == "loss 0.1235  640 rows/s  data wait 3.4%"
    assert cursor == "\x1b[?25h"


def test_a_terminal_shows_what_happens_above_the_bar() -> None:
    console = make_console(terminal=True)
    with make_display(console, FakeClock()) as display:
        display.update([train(400), VALIDATION], [])
    text = shown(console)
    assert text.index("validation  loss 0.0912") < text.rindex("━━━")


def test_a_terminal_says_what_goes_on_before_the_first_record() -> None:
    console = make_console(terminal=True)
    with make_display(console, FakeClock()) as display:
        display.phase("starting 2 workers")
        assert "starting 2 workers" in shown(console)
        assert "step" not in shown(console)


def test_nothing_is_drawn_on_a_terminal_that_cannot_move_its_cursor() -> None:
    console = make_console(terminal=True, term="dumb")
    with make_display(console, FakeClock()) as display:
        display.update([train(400)], [])
    assert shown(console).startswith("step   400/1,200  epoch 1/3")
    assert "\x1b" not in shown(console)


def test_updates_and_phases_from_several_threads_do_not_block_each_other() -> None:
    console = make_console(terminal=True)
    with make_display(console, FakeClock()) as display:

        def work(number: int) -> None:
            for step in range(1, 50):
                display.phase(f"phase {number} {step}")
                display.update([train(step)], [event("note", time=step / 10, step=step)])

        threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert not any(thread.is_alive() for thread in threads)
    assert shown(console).count("note") == 4 * 49


def test_what_others_print_stays_out_of_the_display(capsys: pytest.CaptureFixture[str]) -> None:
    console = make_console(terminal=True)
    with make_display(console, FakeClock()) as display:
        display.phase("starting Ray")
        print("from a worker")  # noqa: T201
    assert "from a worker" not in shown(console)
    assert "from a worker" in capsys.readouterr().out
