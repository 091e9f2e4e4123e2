"""A run's directory: what lies where, written whole or not at all."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.checkpoint.attempts import AttemptLog
from orchestrator.checkpoint.files import storage_errors, sync, write_synced
from orchestrator.checkpoint.store import CheckpointStore

if TYPE_CHECKING:
    from orchestrator.plan.job import JobPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class RunDirectory:
    """The paths of a run; `open_run` makes it."""

    path: Path

    @property
    def checkpoints(self) -> CheckpointStore:
        return CheckpointStore(self.path / "checkpoints")

    @property
    def attempts(self) -> AttemptLog:
        return AttemptLog(self.path / "attempts")

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def ray(self) -> Path:
        return self.path / "ray"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def next_log(self) -> Path:
        """A new file for everything that Ray and the workers print under one driver."""
        newest = max(map(_log_number, self._logs()), default=0)
        return self.logs / f"driver-{newest + 1:03d}.log"

    def newest_log(self) -> Path | None:
        """The newest such file with something in it, as the others are not kept."""
        return max(filter(_has_content, self._logs()), key=_log_number, default=None)

    def all_logs(self) -> list[Path]:
        """Those of all drivers, the oldest first."""
        return sorted(self._logs(), key=_log_number)

    @property
    def plan(self) -> Path:
        return self.path / "plan.json"

    @property
    def job(self) -> Path:
        return self.path / "job.yaml"

    @property
    def is_run(self) -> bool:
        """Whether something has been, or was about to be, trained here."""
        return self.job.exists() or any((self.path / "attempts").glob("*.json"))

    def _logs(self) -> list[Path]:
        return list(self.logs.glob("driver-*.log"))


def open_run(plan: "JobPlan") -> RunDirectory:
    """The directory of the plan's run, made where it is not there yet.

    Raises:
        CheckpointError: the storage cannot be written.
    """
    directory = RunDirectory(path=plan.run_dir)
    with storage_errors("make", plan.run_dir):
        (plan.run_dir / "logs").mkdir(parents=True, exist_ok=True)
    return directory


def replace_file(path: Path, content: str | bytes) -> None:
    """Writes a file so that a reader sees the old or the new one, never a part."""
    with storage_errors("write", path):
        data = content.encode() if isinstance(content, str) else content
        staged = write_synced(path.with_name(f".{path.name}.{os.getpid()}.tmp"), data)
        staged.chmod(0o600)
        staged.replace(path)
        sync(path.parent)


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _log_number(path: Path) -> int:
    number = path.stem.removeprefix("driver-")
    return int(number) if number.isdecimal() else 0
