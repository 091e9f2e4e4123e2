"""Jobs that wait for their turn, in files beside the runs: no client, driver or cluster holds them.

An entry is a package and, written last, a small file; it is removed once its job is on the cluster.
The job bears the entry's number, so that a crash in between neither loses it nor starts it twice.
"""

import fcntl
import json
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.checkpoint.files import storage_errors
from orchestrator.errors import JobFailedError, SpecError
from orchestrator.run.directory import replace_file
from orchestrator.submit.submission import Submission

QUEUE_DIR = ".queue"
_SETTINGS, _RUNNER, _LOCK = "settings.json", "runner.json", "lock"
_ENTRY = re.compile(r"\d{20}-.+\.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A job in the queue.

    Attributes:
        number: by which entries of one priority are in the order in which they came.
        priority: the higher, the sooner.
    """

    number: str
    priority: int
    submission: Submission


class Queue:
    """The queue of a storage."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps others from adding, removing or starting meanwhile."""
        with storage_errors("make", self.folder):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = (self.folder / _LOCK).open("a")
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def add(self, submission: Submission, *, priority: int) -> Entry:
        """Appends a job; the caller holds the lock.

        Raises:
            JobFailedError: a job for this run waits already.
        """
        for waiting in self.entries():
            if waiting.submission.run_dir == submission.run_dir:
                raise JobFailedError(
                    f"the run {submission.run} is in the queue already, with priority"
                    f" {waiting.priority}",
                    hint=f"orchestrator stop {submission.run} takes it out",
                )
        number = f"{time.time_ns():020d}-{submission.run}"
        package = self.folder / f"{number}.zip"
        with storage_errors("write", package):
            shutil.copyfile(submission.package, package)
        kept = replace(submission, package=package)
        environment = {**submission.runtime_env, "working_dir": str(package)}
        content = {
            "run": kept.run,
            "run_dir": str(kept.run_dir),
            "entrypoint": kept.entrypoint,
            "runtime_env": environment,
            "priority": priority,
        }
        replace_file(self.folder / f"{number}.json", json.dumps(content))
        return Entry(number=number, priority=priority, submission=kept)

    def entries(self) -> Sequence[Entry]:
        """What waits, in the order in which it is started.

        Raises:
            SpecError: an entry is damaged.
        """
        found = [self._read(path) for path in sorted(self.folder.glob("*.json"))]
        entries = [entry for entry in found if entry is not None]
        return sorted(entries, key=lambda entry: (-entry.priority, entry.number))

    def remove(self, entry: Entry) -> None:
        """Takes an entry out, whether it was started or not wanted any more."""
        with storage_errors("remove", entry.submission.package):
            (self.folder / f"{entry.number}.json").unlink(missing_ok=True)
            entry.submission.package.unlink(missing_ok=True)

    @property
    def at_most(self) -> int:
        """How many jobs may run at once."""
        path = self.folder / _SETTINGS
        return int(json.loads(path.read_text())["at_most"]) if path.exists() else 1

    def set_at_most(self, number: int) -> None:
        replace_file(self.folder / _SETTINGS, json.dumps({"at_most": number}))

    @property
    def runner(self) -> str | None:
        """The number of the job that starts what waits here, None where none has been started."""
        path = self.folder / _RUNNER
        return str(json.loads(path.read_text())["job"]) if path.exists() else None

    def set_runner(self, job: str | None) -> None:
        if job is None:
            (self.folder / _RUNNER).unlink(missing_ok=True)
        else:
            replace_file(self.folder / _RUNNER, json.dumps({"job": job}))

    def _read(self, path: Path) -> Entry | None:
        if not _ENTRY.fullmatch(path.name):
            return None
        try:
            content = json.loads(path.read_text())
            return Entry(
                number=path.stem,
                priority=int(content["priority"]),
                submission=Submission(
                    run=str(content["run"]),
                    run_dir=Path(str(content["run_dir"])),
                    entrypoint=str(content["entrypoint"]),
                    package=path.with_suffix(".zip"),
                    runtime_env=dict(content["runtime_env"]),
                ),
            )
        except FileNotFoundError:
            return None  # It has just been started.
        except (ValueError, KeyError, TypeError) as error:
            raise SpecError(
                f"{path} is damaged: {error}", hint="remove it, and submit its job again"
            ) from error


def queue_of(submission: Submission) -> Queue:
    """The queue of the storage that a job's run lies in."""
    return Queue(submission.run_dir.parent / QUEUE_DIR)
