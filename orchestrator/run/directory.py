"""A run's directory: what lies where, written whole or not at all."""

import json
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.checkpoint.attempts import AttemptLog
from orchestrator.checkpoint.files import storage_errors, sync, write_synced
from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.data.fitted import PREPROCESSING_FILE
from orchestrator.plan.job import JobPlan
from orchestrator.run.changes import DATA_FILE, data_record
from orchestrator.spec.load import dump_job
from orchestrator.train.saving import versions


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
    def preprocessing(self) -> Path:
        return self.path / PREPROCESSING_FILE

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
        newest = self.newest_log()
        return self.logs / f"driver-{_log_number(newest) + 1 if newest else 1:03d}.log"

    def newest_log(self) -> Path | None:
        """The newest such file."""
        return max(self.logs.glob("driver-*.log"), key=_log_number, default=None)

    def describe(self, plan: JobPlan) -> None:
        """Writes down what is about to be trained, and on what, once nothing speaks against it.

        Readable by its owner alone, as the spec may hold what came from the environment.
        """
        replace_file(self.path / "job.yaml", dump_job(plan.spec))
        replace_file(self.path / DATA_FILE, data_record(plan))
        environment = json.dumps(_environment(plan), indent=1, sort_keys=True)
        replace_file(self.path / "environment.json", environment)


def open_run(plan: JobPlan) -> RunDirectory:
    """The directory of the plan's run, made where it is not there yet.

    Raises:
        CheckpointError: the storage cannot be written.
    """
    directory = RunDirectory(path=plan.run_dir)
    with storage_errors("make", plan.run_dir):
        (plan.run_dir / "logs").mkdir(parents=True, exist_ok=True)
    return directory


def replace_file(path: Path, text: str) -> None:
    """Writes a file so that a reader sees the old or the new one, never a part."""
    with storage_errors("write", path):
        staged = write_synced(path.with_name(f".{path.name}.{os.getpid()}.tmp"), text.encode())
        staged.chmod(0o600)
        staged.replace(path)
        sync(path.parent)


def _log_number(path: Path) -> int:
    number = path.stem.removeprefix("driver-")
    return int(number) if number.isdecimal() else 0


def _environment(plan: JobPlan) -> Mapping[str, object]:
    capacity = plan.resources.capacity
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "command": sys.argv,
        "git": _git_revision(Path(plan.spec.runtime.working_dir)),
        "cluster": {"cpus": capacity.cpus, "gpus": capacity.gpus, "cores": capacity.cores},
        "order_fingerprint": plan.fingerprint.digest,
    }


def _git_revision(root: Path) -> str | None:
    """The revision of the user's code, marked where it has changes; None outside git."""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
