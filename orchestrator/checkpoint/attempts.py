"""The attempts of a run: who started when, from which checkpoint, and which attempt may commit.

A run is a chain of attempts. What counts as done follows the line of parents from the newest
attempt back, not the largest step: an attempt that started earlier may have gone further.
"""

import json
import os
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from orchestrator.checkpoint.files import storage_errors, sync, write_synced
from orchestrator.errors import CheckpointError


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One start of the workers.

    `parent` is the attempt whose checkpoint it began with, None where it began from nothing; `step`
    counts the steps of the whole run that were done then.
    """

    number: int
    parent: int | None
    step: int
    checkpoint: str | None
    checkpoint_digest: str | None
    workers: int
    driver: int
    reason: str
    host: str
    pid: int
    started_at: float


_ADAPTER = TypeAdapter(Attempt)


class AttemptLog:
    """The files `attempts/N.json` of a run; a number is used once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def all(self) -> list[Attempt]:
        """All attempts so far, oldest first.

        Raises:
            CheckpointError: a record cannot be read, or is not the record of its number.
        """
        return [self._read(number) for number in self._numbers()]

    def begin(self, attempt: Attempt) -> None:
        """Records an attempt, whole or not at all; from now on no earlier one may commit.

        Raises:
            CheckpointError: another driver has begun an attempt with this number.
        """
        path = self._directory / f"{attempt.number}.json"
        with storage_errors("write", path):
            self._directory.mkdir(parents=True, exist_ok=True)
            # Not by the process's number: another host, or container, may have the same.
            staged = self._directory / f".{attempt.number}.{uuid.uuid4().hex}.tmp"
            write_synced(staged, json.dumps(asdict(attempt), indent=1).encode())
            try:
                # A link, and not a rename, fails where another driver was first.
                os.link(staged, path)
            except FileExistsError as error:
                raise CheckpointError(
                    f"another driver has begun attempt {attempt.number} of this run"
                ) from error
            finally:
                staged.unlink()
            sync(self._directory)

    def newest(self) -> int:
        """The number of the newest attempt, 0 where there was none."""
        return max(self._numbers(), default=0)

    def fence(self, number: int) -> Callable[[], None]:
        """A check that raises CheckpointError once attempt `number` has been succeeded.

        Workers go on for seconds after their driver was killed; without it, they could commit a
        checkpoint in the middle of their successors' work. The same goes where the run was set
        aside meanwhile, and another one begun in its place, whose attempts count from 1 again.
        """
        begun = self._content(number)

        def check() -> None:
            if (newest := self.newest()) > number:
                raise CheckpointError(
                    f"attempt {number} has been succeeded by attempt {newest} and may not commit"
                )
            if self._content(number) != begun:
                raise CheckpointError(
                    f"attempt {number} belongs to a run that was set aside, and may not commit"
                )

        return check

    def _content(self, number: int) -> bytes | None:
        path = self._directory / f"{number}.json"
        with storage_errors("read", path):
            return path.read_bytes() if path.exists() else None

    def _read(self, number: int) -> Attempt:
        path = self._directory / f"{number}.json"
        with storage_errors("read", path):
            content = path.read_bytes()
        try:
            attempt = _ADAPTER.validate_json(content, strict=True)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in problem["loc"])
            what = f"{where}: {problem['msg']}" if where else problem["msg"]
            raise CheckpointError(f"{path} is not an attempt's record: {what}") from error
        if attempt.number != number:
            raise CheckpointError(f"{path} is not its record, but that of {attempt.number}")
        return attempt

    def _numbers(self) -> list[int]:
        if not self._directory.is_dir():
            return []
        names = (path.stem for path in self._directory.glob("*.json"))
        # Only as `begin` writes them: "007" or "1-old" is somebody else's.
        return sorted(int(name) for name in names if name.isdecimal() and name == str(int(name)))
