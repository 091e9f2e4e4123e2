"""The live progress of a run: a bar on a terminal, plain lines elsewhere."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from orchestrator.report.frame import RunLength, View, draw, facts
from orchestrator.report.happenings import Happening, counted_workers, of_event, of_validation
from orchestrator.report.pace import Pace
from orchestrator.report.records import Event, Record, TrainRecord, ValidationRecord

PLAIN_INTERVAL_S = 2.0
"""Without a terminal: the least time between two lines about progress."""
_STARTING_AGAIN = "starting again"


class ProgressDisplay:
    """Shows where a run is, what it measures and what happens to it.

    `update` and `phase` may be called from any thread while the display is open.

    Args:
        console: where to show it; whether that is a terminal decides between bar and lines.
        total_steps: how many steps the whole run has.
        steps_per_epoch: how many of them make an epoch.
        epochs: how many epochs the run has; the last one may be cut short.
        clock: seconds from any start, never going back.
        plain_interval_s: without a terminal, the least time between two lines about progress.
    """

    def __init__(
        self,
        console: Console,
        *,
        total_steps: int,
        steps_per_epoch: int,
        epochs: int,
        clock: Callable[[], float] = time.monotonic,
        plain_interval_s: float = PLAIN_INTERVAL_S,
    ) -> None:
        self._console = console
        self._length = RunLength(
            total_steps=total_steps, steps_per_epoch=steps_per_epoch, epochs=epochs
        )
        self._clock = clock
        self._plain_interval_s = plain_interval_s
        self._lock = threading.Lock()
        # Frames are drawn by a thread of rich, under a lock of rich which printing takes too.
        # So they take no lock of ours: the view is a value that is swapped as a whole.
        self._view = View()
        self._attempt = 0
        self._pace = Pace()
        self._plain_due = clock()
        self._plain_record: TrainRecord | None = None
        self._live: Live | None = None
        self._spinner = Spinner("dots" if console.encoding.startswith("utf") else "line")

    def open(self) -> None:
        """Starts drawing on a terminal; elsewhere there is nothing to start."""
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            # What others print is not to be drawn above the bar: it belongs to the run's log.
            self._live = Live(
                console=self._console,
                get_renderable=self._frame,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def close(self) -> None:
        """Leaves the last state on the screen and stops drawing."""
        with self._lock:
            self._view = replace(self._view, phase=None, eta_s=None, since=self._clock())
            self._print_progress()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def phase(self, text: str) -> None:
        """Says what is going on until the next step is reported ("starting Ray")."""
        with self._lock:
            if text != self._view.phase:
                self._set_phase(text)
                if self._live is None:
                    self._print_line(Text(text))
                else:
                    self._live.refresh()

    def update(self, records: Sequence[Record], events: Sequence[Event]) -> None:
        """Takes in what was written since the last call.

        Records of an attempt that has been succeeded are left out: its workers go on for a
        moment after the next one has begun.
        """
        with self._lock:
            for item in sorted([*events, *records], key=lambda item: item.time):
                match item:
                    case Event():
                        self._take_event(item)
                    case TrainRecord() if item.attempt >= self._attempt:
                        self._take_progress(item)
                    case ValidationRecord() if item.attempt >= self._attempt:
                        self._tell(of_validation(item, total_steps=self._length.total_steps))
            if self._live is not None:
                self._live.refresh()
            elif self._clock() >= self._plain_due:
                self._print_progress()

    def _take_event(self, event: Event) -> None:
        if event.event == "attempt-started" and event.attempt is not None:
            self._begin_attempt(event.attempt)
            self._view = replace(self._view, step=event.step or 0, record=None, eta_s=None)
            self._set_phase(f"starting {counted_workers(event)}")
        elif event.event == "training-started":
            # Until the first report there is nothing else to show.
            self._set_phase("training")
            return
        elif event.event == "attempt-failed":
            self._set_phase(_STARTING_AGAIN)
        elif event.event == "fitting":
            self._set_phase(f"fitting {event.fields.get('use')}")
        elif event.event == "fitted":
            self._set_phase("starting workers")
        elif event.event == "counting":
            self._set_phase(f"counting what the rows give: {event.fields.get('uses')}")
        elif event.event == "planned":
            self._take_length(event)
            return
        elif event.event == "finished":
            self._print_progress()
        self._tell(of_event(event, total_steps=self._length.total_steps))

    def _take_length(self, event: Event) -> None:
        total, per_epoch = event.fields.get("total_steps"), event.fields.get("steps_per_epoch")
        if isinstance(total, int) and isinstance(per_epoch, int):
            self._length = RunLength(
                total_steps=total, steps_per_epoch=per_epoch, epochs=-(-total // per_epoch)
            )

    def _take_progress(self, record: TrainRecord) -> None:
        if record.attempt > self._attempt:
            self._begin_attempt(record.attempt)
        self._pace.add(record)
        self._view = View(
            step=record.step,
            since=self._clock(),
            record=record,
            eta_s=self._pace.seconds_for(self._length.total_steps - record.step),
            usual_s=self._pace.seconds_per_record(),
        )

    def _begin_attempt(self, attempt: int) -> None:
        self._attempt = max(self._attempt, attempt)
        self._pace = Pace()

    def _set_phase(self, text: str) -> None:
        self._view = replace(self._view, phase=text, since=self._clock())

    def _print_progress(self) -> None:
        record = self._view.record
        if self._live is not None or record is None or record is self._plain_record:
            return
        self._plain_due = self._clock() + self._plain_interval_s
        self._plain_record = record
        place = [self._length.step_of(record.step), self._length.epoch_of(record.step)]
        self._print_line(Text("  ".join([*place, *facts(self._view)])))

    def _tell(self, happening: Happening) -> None:
        if self._live is None:
            self._print_line(happening.as_line())
        else:
            self._console.print(happening.as_grid())

    def _print_line(self, line: Text) -> None:
        # A soft wrap leaves long lines whole: what is read by programs is not broken to a width.
        self._console.print(line, soft_wrap=True)

    def _frame(self) -> Group:
        return draw(
            self._view,
            self._length,
            now=self._clock(),
            console=self._console,
            spinner=self._spinner,
        )
