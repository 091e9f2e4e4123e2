"""Durable writes, checks of single files, and storage errors in words."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.checkpoint.manifest import DamagedError, FileEntry
from orchestrator.errors import CheckpointError

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than the limit on file sizes allows",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the disk reports an input/output error",
}


@contextmanager
def storage_errors(action: str, path: Path) -> Iterator[None]:
    """Turns an OSError within it into a CheckpointError: what could not be done, where, why."""
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        reason = _REASONS.get(number) or error.strerror or str(error)
        where = f" ({error.filename})" if error.filename not in (None, str(path), path) else ""
        raise CheckpointError(f"cannot {action} {path}: {reason}{where}") from error


def sync(path: Path) -> None:
    """Forces a file's content, or a directory's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_synced(path: Path, data: bytes) -> Path:
    """Writes a whole file and forces it to the disk; its name is not yet durable."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return path


def sync_tree(directory: Path) -> tuple[FileEntry, ...]:
    """Forces everything below a directory to the disk and describes its files.

    Raises:
        CheckpointError: Something in it is neither a file nor a directory.
    """
    entries = []
    for path in sorted(directory.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            entries.append(_describe(path, directory))
        elif not stat.S_ISDIR(mode):
            raise CheckpointError(f"cannot commit {path}: neither a file nor a directory")
        sync(path)
    sync(directory)
    return tuple(entries)


def check_size(directory: Path, entry: FileEntry) -> None:
    """Raises DamagedError unless the file is there with the size that was committed."""
    path = directory / entry.path
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        raise DamagedError(f"{path} is missing, wanted {entry.size} bytes") from None
    if not stat.S_ISREG(status.st_mode):
        raise DamagedError(f"{path} is no regular file")
    if status.st_size != entry.size:
        raise DamagedError(f"{path} has {status.st_size} bytes, wanted {entry.size}")


def check_hash(directory: Path, entry: FileEntry) -> None:
    """Raises DamagedError unless the file's content is what was committed."""
    path = directory / entry.path
    try:
        found = _sha256(path)
    except OSError as error:
        # A bad sector is damage like a flipped bit; a refused permission, say, is not.
        if error.errno != errno.EIO:
            raise
        raise DamagedError(f"{path} cannot be read: {_REASONS[errno.EIO]}") from error
    if found != entry.sha256:
        raise DamagedError(f"{path} has SHA-256 {found}, wanted {entry.sha256}")


def _describe(path: Path, directory: Path) -> FileEntry:
    relative = path.relative_to(directory).as_posix()
    return FileEntry(path=relative, size=path.stat().st_size, sha256=_sha256(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
