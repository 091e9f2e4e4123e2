"""How fast a run has been going lately, and how long the rest will take at that pace."""

from collections import deque

from orchestrator.report.records import TrainRecord

WINDOW_S = 60.0
"""How far back "lately" reaches. Pauses for validation and checkpoints are part of the pace."""
LONGEST_WINDOW = 500
"""How many records it holds at most, where they come fast."""


class Pace:
    """The pace of one attempt, from its latest records."""

    def __init__(self) -> None:
        self._records: deque[TrainRecord] = deque(maxlen=LONGEST_WINDOW)

    def add(self, record: TrainRecord) -> None:
        """Takes in the next record, and forgets those before the window."""
        self._records.append(record)
        while len(self._records) > 2 and self._records[0].time < record.time - WINDOW_S:
            self._records.popleft()

    def seconds_for(self, steps: int) -> float | None:
        """Returns how long that many steps take, None as long as that is unknown."""
        rate = self._steps_per_s()
        return steps / rate if rate > 0 else None

    def seconds_per_record(self) -> float:
        """Returns the usual time between two records, 0 as long as that is unknown."""
        if len(self._records) < 2:
            return 0.0
        return (self._records[-1].time - self._records[0].time) / (len(self._records) - 1)

    def _steps_per_s(self) -> float:
        if not self._records:
            return 0.0
        first, last = self._records[0], self._records[-1]
        if last.time > first.time:
            return (last.step - first.step) / (last.time - first.time)
        # One moment tells no pace, but its throughput does: steps are of (nearly) equal size.
        return last.rows_per_s * last.step / last.rows if last.rows > 0 else 0.0
