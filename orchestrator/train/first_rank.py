"""What the first rank alone does for the run."""

from dataclasses import dataclass

from orchestrator.train.recorder import Recorder
from orchestrator.train.saving import Saver
from orchestrator.train.stop import StopRequest


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstRank:
    """It writes the records, saves, and looks for a request to stop."""

    recorder: Recorder
    saver: Saver
    stop: StopRequest

    def close(self) -> None:
        """Waits for a save that is at work, and closes the records."""
        self.saver.close()
        self.recorder.close()
