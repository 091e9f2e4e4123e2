"""The manifest of a checkpoint: what it holds, where training stood, and how to check it."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter, ValidationError

from orchestrator.errors import CheckpointError

MANIFEST_NAME = "MANIFEST.json"
TEMPORARY_NAME = "MANIFEST.json.tmp"
REASON_NAME = "REASON.txt"
# The folder of the pieces that each rank has written for itself, where there are such.
SHARDS = "shards"
RESERVED_NAMES = frozenset({MANIFEST_NAME, TEMPORARY_NAME, REASON_NAME})

_CHECKPOINT_NAME = re.compile(r"step-([0-9]{9,})-([0-9]{3,})(?:-[b-z])?")


class DamagedError(CheckpointError):
    """A committed checkpoint is not, or no longer, what was committed."""


def checkpoint_name(step: int, attempt: int) -> str:
    """The directory name of a checkpoint; names sort as the checkpoints do."""
    return f"step-{step:09d}-{attempt:03d}"


def chunk_name(step: int, attempt: int) -> str:
    """The file name of the chunk of the ledger that is written with a checkpoint."""
    return f"step-{step:09d}-{attempt:03d}.chunk"


def parse_checkpoint_name(name: str) -> tuple[int, int] | None:
    """The (step, attempt) that a directory name stands for, or None for any other name."""
    match = _CHECKPOINT_NAME.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def _inside(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\0" in path or not pure.parts:
        raise ValueError("leaves the checkpoint's directory")
    if str(pure) != path or path in RESERVED_NAMES:
        raise ValueError("is not a plain relative path of a data file")
    return path


def _is_cursor(cursor: dict[str, int]) -> dict[str, int]:
    missing = {"epoch", "step"} - cursor.keys()
    if missing:
        raise ValueError(f"lacks {', '.join(sorted(missing))}")
    return cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file of a checkpoint; the path is relative to its directory, with forward slashes."""

    path: Annotated[str, AfterValidator(_inside)]
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkReference:
    """A chunk of the ledger: its file in the ledger's folder, and the SHA-256 of all of it."""

    name: Annotated[str, StringConstraints(pattern=r"^step-[0-9]{9,}-[0-9]{3,}\.chunk$")]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

    @classmethod
    def of(cls, step: int, attempt: int, sha256: str) -> "ChunkReference":
        """The chunk that ends with a step of an attempt."""
        return cls(name=chunk_name(step, attempt), sha256=sha256)


def _without_repeats(files: tuple[FileEntry, ...]) -> tuple[FileEntry, ...]:
    if len({entry.path for entry in files}) != len(files):
        raise ValueError("lists a path twice")
    return files


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Where training stood at a checkpoint, and the files that hold its state.

    Attributes:
        cursor: The position in the data stream: `epoch`, and `step` within that epoch.
        parts: The fingerprints that `order_fingerprint` was made of, so that a difference has a
            name.
        ledger: The chunk that ends the ledger of all steps so far; None where none is kept.
        created_at: Unix time in seconds.
    """

    FORMAT_VERSION: ClassVar[int] = 1

    name: str
    attempt: Annotated[int, Field(ge=0)]
    step: Annotated[int, Field(ge=0)]
    cursor: Annotated[dict[str, int], AfterValidator(_is_cursor)]
    metrics: dict[str, float]
    order_fingerprint: str
    parts: dict[str, str]
    ledger: ChunkReference | None = None
    files: Annotated[tuple[FileEntry, ...], AfterValidator(_without_repeats)] = ()
    created_at: float = 0.0
    versions: dict[str, str]
    format_version: int = FORMAT_VERSION

    @property
    def digest(self) -> str:
        """The SHA-256 of `to_bytes()`: what a worker compares to know that it reads this one."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def size(self) -> int:
        """The bytes of all files together."""
        return sum(entry.size for entry in self.files)

    @property
    def strategy(self) -> str:
        """The training.strategy that it was written with."""
        sharded = any(entry.path.startswith(f"{SHARDS}/") for entry in self.files)
        return "fsdp" if sharded else "ddp"

    def to_bytes(self) -> bytes:
        """The content of MANIFEST.json, with a checksum of itself."""
        content = asdict(self)
        document = {"checksum": _checksum(content), **content}
        return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Manifest":
        """Reads what `to_bytes` wrote; keys that only a newer version knows are ignored.

        Raises:
            DamagedError: These are not the bytes of a manifest, or not as they were written.
            CheckpointError: An intact manifest, but of a format this version cannot read.
        """
        try:
            content = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise DamagedError(f"{MANIFEST_NAME} is not JSON: {error}") from error
        if not isinstance(content, dict):
            raise DamagedError(f"{MANIFEST_NAME}: got a {type(content).__name__}, wanted an object")
        # The checksum covers unknown keys too: without it, a flipped digit in the cursor would
        # read as a good manifest and train on the wrong rows.
        if content.pop("checksum", None) != _checksum(content):
            raise DamagedError(f"{MANIFEST_NAME} does not match its own checksum")
        version = content.get("format_version")
        if version != cls.FORMAT_VERSION:
            raise CheckpointError(
                f"{MANIFEST_NAME}: format_version: got {version!r}, wanted {cls.FORMAT_VERSION}",
                hint="the checkpoint is of another version of this program: use that version",
            )
        try:
            return _ADAPTER.validate_json(data, strict=True)
        except ValidationError as error:
            raise DamagedError(f"{MANIFEST_NAME}: {_describe(error)}") from error


_ADAPTER = TypeAdapter(Manifest)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointInfo:
    """A committed checkpoint: its directory and its manifest."""

    path: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """The name of its directory."""
        return self.manifest.name

    @property
    def age_key(self) -> tuple[int, int, str]:
        """Sorts checkpoints from the oldest to the newest."""
        return self.manifest.step, self.manifest.attempt, self.manifest.name


def _checksum(content: Mapping[str, object]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _describe(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
        for problem in error.errors(include_url=False)
    )
