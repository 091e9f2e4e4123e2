"""What the first rank writes down: metrics for people and the record, events for the history."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.jsonl import JsonLinesWriter

if TYPE_CHECKING:
    from pydantic import JsonValue

NOT_FINITE_HINT = "a lower learning rate, training.clip_norm or cleaner rows may help"


class Recorder:
    """Appends to a run's metrics.jsonl and events.jsonl."""

    def __init__(
        self, run_dir: Path, *, attempt: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._metrics = JsonLinesWriter(run_dir / "metrics.jsonl")
        self._events = JsonLinesWriter(run_dir / "events.jsonl")
        self._attempt = attempt
        self._clock = clock

    def training(
        self,
        *,
        epoch: int,
        step: int,
        rows: int,
        lr: float,
        means: Mapping[str, float],
        rows_per_s: float,
        wait_share: float,
    ) -> None:
        """One report of training, over the steps since the last one."""
        others = {name: value for name, value in means.items() if name != "loss"}
        self._metrics.write(
            {
                "time": self._clock(),
                "attempt": self._attempt,
                "kind": "train",
                "epoch": epoch,
                "step": step,
                "loss": means["loss"],
                "lr": lr,
                "rows": rows,
                "rows_per_s": rows_per_s,
                "wait_share": wait_share,
                "metrics": dict(others),
            }
        )

    def validation(
        self, *, epoch: int, step: int, rows: int, means: Mapping[str, float], seconds: float
    ) -> None:
        """The result of one validation."""
        self._metrics.write(
            {
                "time": self._clock(),
                "attempt": self._attempt,
                "kind": "validation",
                "epoch": epoch,
                "step": step,
                "rows": rows,
                "metrics": dict(means),
                "seconds": seconds,
            }
        )

    def checkpoint(self, *, name: str, step: int, size: int, seconds: float, held_s: float) -> None:
        """A checkpoint was committed; any thread may say so.

        Args:
            seconds: from the end of its step until it was committed.
            held_s: how much of that the training stood still.
        """
        self._events.write(
            {
                "time": self._clock(),
                "event": "checkpoint",
                "attempt": self._attempt,
                "name": name,
                "step": step,
                "bytes": size,
                "seconds": seconds,
                "held_s": held_s,
            }
        )

    def training_started(self, *, step: int) -> None:
        """The first batch is there, and training begins after this step."""
        self._event("training-started", step=step)

    def waiting_for_data(self, *, seconds: float, cause: str) -> None:
        """Training has been waiting for data for so long."""
        self._event("waiting-for-data", seconds=seconds, cause=cause)

    def data_arrived(self) -> None:
        """The wait that has been told of is over."""
        self._event("data-arrived")

    def stopped(self, *, step: int) -> None:
        """Training ended after this step because it was asked to."""
        self._event("stopped", step=step)

    def out_of_memory(
        self, *, step: int, rank: int, rows: int, micro_batch_size: int, cause: str
    ) -> None:
        """Memory did not suffice for so many rows on a rank; from now on they are fewer."""
        self._event(
            "out-of-memory",
            step=step,
            rank=rank,
            rows=rows,
            micro_batch_size=micro_batch_size,
            cause=cause,
        )

    def skipped(self, *, step: int, epoch: int, rows: int) -> None:
        """A step was left out, as a rewind has told."""
        self._event("skipped", step=step, epoch=epoch, rows=rows)

    def close(self) -> None:
        """Closes both files."""
        self._metrics.close()
        self._events.close()

    def _event(self, event: str, **fields: "JsonValue") -> None:
        self._events.write(
            {"time": self._clock(), "event": event, "attempt": self._attempt, **fields}
        )
