"""Checkpoints in a directory of a local or shared file system, committed by a mark written last."""

import shutil
import string
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.checkpoint.files import (
    check_hash,
    check_size,
    storage_errors,
    sync,
    sync_tree,
    write_synced,
)
from orchestrator.checkpoint.manifest import (
    MANIFEST_NAME,
    REASON_NAME,
    RESERVED_NAMES,
    TEMPORARY_NAME,
    CheckpointInfo,
    DamagedError,
    Manifest,
    checkpoint_name,
    parse_checkpoint_name,
)
from orchestrator.errors import CheckpointError


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A damaged checkpoint: its name, what is wrong with it, and where it lies now."""

    name: str
    reason: str
    path: Path


class CheckpointStore:
    """The checkpoints of one run.

    A checkpoint exists once its MANIFEST.json does. One process at a time may write: each attempt
    has a fence that closes when the next one begins.
    """

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._root = root
        self._aside = root / "set-aside"
        self._clock = clock

    def stage(self, step: int, attempt: int) -> Path:
        """Makes a fresh, empty directory to write a checkpoint into.

        Never one that was there before: the leftovers of a torn save would mix with the new files.
        """
        with storage_errors("make a checkpoint directory in", self._root):
            self._root.mkdir(parents=True, exist_ok=True)
            for name in _alternatives(checkpoint_name(step, attempt)):
                if (self._aside / name).exists():
                    continue
                try:
                    (self._root / name).mkdir()
                except FileExistsError:
                    continue
                sync(self._root)
                return self._root / name
        raise CheckpointError(f"too many torn saves of step {step} in {self._root}")

    def commit(self, directory: Path, manifest: Manifest, *, fence: Callable[[], None]) -> Manifest:
        """Makes a staged directory a checkpoint, all at once.

        Args:
            directory: From `stage`, with all files written.
            manifest: Its name, files and creation time are filled in here.
            fence: Called just before the mark; raises CheckpointError when this attempt has been
                superseded.
        """
        with storage_errors("commit", directory):
            for name in RESERVED_NAMES:
                if (directory / name).exists():
                    raise CheckpointError(f"cannot commit {directory}: it has a {name} of its own")
            files = sync_tree(directory)
            if not files:
                raise CheckpointError(f"cannot commit {directory}: it has no files")
            sync(self._root)
            committed = replace(
                manifest, name=directory.name, files=files, created_at=self._clock()
            )
            data = committed.to_bytes()
            _read_manifest(data, directory.name)
            mark = write_synced(directory / TEMPORARY_NAME, data)
            fence()
            mark.replace(directory / MANIFEST_NAME)
            sync(directory)
        return committed

    def committed(self) -> list[CheckpointInfo]:
        """The checkpoints with a good manifest and files of the right size, newest first."""
        found = []
        for directory in self._marked():
            try:
                found.append(self._open(directory))
            except DamagedError:
                continue  # `newest_valid` sets it aside; a list has nothing to say about it.
        return found

    def verify(self, info: CheckpointInfo) -> None:
        """Compares every file with the manifest; raises CheckpointError naming the first wrong."""
        with storage_errors("read", info.path):
            for entry in info.manifest.files:
                check_size(info.path, entry)
                check_hash(info.path, entry)

    def newest_valid(self) -> tuple[CheckpointInfo | None, list[SetAside]]:
        """The newest checkpoint that verifies; damaged ones before it are set aside.

        Raises:
            CheckpointError: There have been checkpoints, and none holds; or storage cannot be read.
        """
        set_aside = []
        for directory in self._marked():
            try:
                info = self._open(directory)
                self.verify(info)
            except DamagedError as damage:
                set_aside.append(self._set_aside(directory, str(damage)))
            else:
                return info, set_aside
        # Looks at the disk and not at `set_aside`: an earlier call may have crashed after setting
        # the last one aside, and this run must not start from scratch because of that.
        if damaged := sorted(path.name for path in _children(self._aside)):
            raise CheckpointError(
                f"no checkpoint in {self._root} can be trusted: {', '.join(damaged)} damaged",
                hint=f"they lie in {self._aside}, each with a {REASON_NAME}; start the run afresh,"
                " or remove them to start from the beginning",
            )
        return None, set_aside

    def read_verified(self, name: str, digest: str) -> tuple[Manifest, Path]:
        """Opens the very checkpoint that the driver chose, after checking every file.

        Raises:
            CheckpointError: It is missing, damaged, or its manifest has another digest.
        """
        directory = self._root / name
        if parse_checkpoint_name(name) is None or not _has_mark(directory):
            raise CheckpointError(f"no checkpoint {name!r} in {self._root}")
        info = self._open(directory)
        if info.manifest.digest != digest:
            raise DamagedError(
                f"{directory / MANIFEST_NAME} has digest {info.manifest.digest}, wanted {digest}"
            )
        self.verify(info)
        return info.manifest, info.path

    def delete(self, info: CheckpointInfo) -> None:
        """Deletes a checkpoint; from its first moment on it is no longer committed."""
        self.discard(info.path)

    def discard(self, directory: Path) -> None:
        """Deletes a directory of this store, its mark first."""
        with storage_errors("delete", directory):
            (directory / MANIFEST_NAME).unlink(missing_ok=True)
            sync(directory)
            shutil.rmtree(directory)
            sync(self._root)

    def remove_uncommitted(self, before_attempt: int) -> tuple[str, ...]:
        """Deletes what torn saves of earlier attempts left; returns the names."""
        removed = []
        for directory in self._directories():
            attempt = (parse_checkpoint_name(directory.name) or (0, before_attempt))[1]
            if attempt < before_attempt and not _has_mark(directory):
                self.discard(directory)
                removed.append(directory.name)
        return tuple(removed)

    def _directories(self) -> list[Path]:
        """All directories with a checkpoint's name, newest first."""
        named = [
            (key, path.name, path)
            for path in _children(self._root)
            if (key := parse_checkpoint_name(path.name)) and path.is_dir()
        ]
        return [path for _, _, path in sorted(named, reverse=True)]

    def _marked(self) -> list[Path]:
        return [path for path in self._directories() if _has_mark(path)]

    def _open(self, directory: Path) -> CheckpointInfo:
        """Reads the manifest and checks the sizes."""
        with storage_errors("read", directory):
            try:
                data = (directory / MANIFEST_NAME).read_bytes()
            except (FileNotFoundError, IsADirectoryError) as error:
                raise DamagedError(f"{directory / MANIFEST_NAME} is no file") from error
            manifest = _read_manifest(data, directory.name)
            for entry in manifest.files:
                check_size(directory, entry)
        return CheckpointInfo(path=directory, manifest=manifest)

    def _set_aside(self, directory: Path, reason: str) -> SetAside:
        with storage_errors("set aside", directory):
            # The reason goes in before the move: a crash in between leaves a checkpoint that is
            # still found damaged, and never one set aside without a reason.
            sync(write_synced(directory / REASON_NAME, f"{reason}\n".encode()).parent)
            self._aside.mkdir(exist_ok=True)
            for name in _alternatives(directory.name):
                target = self._aside / name
                if not target.exists():
                    directory.rename(target)
                    sync(self._aside)
                    sync(self._root)
                    return SetAside(name=directory.name, reason=reason, path=target)
        raise CheckpointError(f"too many of {directory.name} in {self._aside}")


def _read_manifest(data: bytes, name: str) -> Manifest:
    try:
        manifest = Manifest.from_bytes(data)
    except DamagedError as error:
        raise DamagedError(f"{name}: {error}") from error
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error}", hint=error.hint) from error
    if (manifest.name, parse_checkpoint_name(name)) != (name, (manifest.step, manifest.attempt)):
        raise DamagedError(
            f"{name}: {MANIFEST_NAME} belongs to {manifest.name}, step {manifest.step},"
            f" attempt {manifest.attempt}"
        )
    return manifest


def _has_mark(directory: Path) -> bool:
    with storage_errors("read", directory):
        return (directory / MANIFEST_NAME).exists()


def _children(directory: Path) -> list[Path]:
    with storage_errors("list", directory):
        return list(directory.iterdir()) if directory.is_dir() else []


def _alternatives(name: str) -> Iterator[str]:
    yield name
    for letter in string.ascii_lowercase[1:]:
        yield f"{name}-{letter}"
