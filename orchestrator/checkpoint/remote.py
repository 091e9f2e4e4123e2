"""Files on an object store or another disk, with retries that come to an end."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from orchestrator.checkpoint.files import sync
from orchestrator.errors import CheckpointError

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_PIECE = 2**20
# By these words of the storage another try would not help.
_LASTING = ("ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH")


@dataclass(frozen=True, kw_only=True, slots=True)
class Retries:
    """How often an operation is tried again, and after what seconds: each time twice as many."""

    count: int = 6
    first_s: float = 0.5
    longest_s: float = 10.0

    def delays(self) -> Iterator[float]:
        """The seconds before each further try."""
        for number in range(self.count):
            yield min(self.first_s * 2**number, self.longest_s)


class RemoteFiles:
    """The files below a URI (s3://, gs://) or a path; keys are relative to it.

    Args:
        root: where relative paths start.
        wait: waits so many seconds before another try; True says to give up instead.
    """

    def __init__(
        self,
        uri: str,
        *,
        root: Path,
        retries: Retries | None = None,
        wait: Callable[[float], bool | None] = time.sleep,
    ) -> None:
        self._uri = uri
        self._root = root
        self._retries = retries or Retries()
        self._wait = wait
        self._opened: tuple[FileSystem, str] | None = None
        # What stands behind the question mark is nobody's concern in a message.
        self.shown = uri.partition("?")[0].rstrip("/")

    def put_file(self, path: Path, key: str) -> str:
        """Copies a local file and returns the SHA-256 of what was sent.

        Raises:
            FileNotFoundError: the local file is gone.
            CheckpointError: the storage did not take it.
        """
        with path.open("rb") as file:
            return self._trying("write", key, lambda store, at: _send(store, file, at))

    def put_bytes(self, data: bytes, key: str) -> None:
        """Writes a small file with one put: it is there whole, or not at all."""
        self._trying("write", key, lambda store, at: _put(store, [data], at))

    def read(self, key: str) -> bytes:
        """The content of a small file."""

        def work(store: FileSystem, at: str) -> bytes:
            with store.open_input_stream(at) as stream:
                return bytes(stream.read())

        return self._trying("read", key, work)

    def fetch(self, key: str, path: Path | None) -> str:
        """Reads a file, into a local one where a path is given; returns its SHA-256."""

        def work(store: FileSystem, at: str) -> str:
            digest = hashlib.sha256()
            with store.open_input_stream(at) as stream:
                if path is None:
                    _pour(stream.read, digest.update)
                else:
                    with path.open("wb") as file:
                        _pour(stream.read, digest.update, file.write)
            return digest.hexdigest()

        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        return self._trying("read", key, work)

    def sizes(self, key: str) -> dict[str, int]:
        """The bytes of every file below a key, by its path from there; empty where nothing is."""

        def work(store: FileSystem, at: str) -> dict[str, int]:
            found = store.get_file_info(FileSelector(at, recursive=True, allow_not_found=True))
            return {
                info.path.removeprefix(f"{at}/"): info.size
                for info in found
                if info.type == FileType.File
            }

        return self._trying("list", key, work)

    def delete(self, key: str) -> None:
        """Deletes one file, if it is there."""

        def work(store: FileSystem, at: str) -> None:
            if store.get_file_info(at).type == FileType.File:
                store.delete_file(at)

        self._trying("delete", key, work)

    def _trying(self, action: str, key: str, work: Callable[[FileSystem, str], _T]) -> _T:
        delays = self._retries.delays()
        while True:
            try:
                store, base = self._open()
                return work(store, f"{base}/{key}")
            # Pyarrow raises no others: what a store answers is an OSError with its words.
            except OSError as error:
                delay = next(delays, None)
                if delay is None or _lasts(error) or self._wait(delay):
                    raise CheckpointError(
                        f"cannot {action} {self.shown}/{key}: {_reason(error)}"
                    ) from error
                _log.warning("%s %s/%s again: %s", action, self.shown, key, _reason(error))

    def _open(self) -> tuple[FileSystem, str]:
        # Not when it is made: to open a bucket may need the network.
        if self._opened is None:
            if "://" in self._uri:
                store, base = FileSystem.from_uri(_tuned(self._uri))
            else:
                store, base = LocalFileSystem(), (self._root / self._uri).as_posix()
            self._opened = store, base.rstrip("/")
        return self._opened


def _send(store: FileSystem, file: BinaryIO, at: str) -> str:
    file.seek(0)
    digest = hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        while piece := file.read(_PIECE):
            digest.update(piece)
            yield piece

    _put(store, pieces(), at)
    return digest.hexdigest()


def _put(store: FileSystem, pieces: Iterator[bytes] | list[bytes], at: str) -> None:
    if not isinstance(store, LocalFileSystem):
        with store.open_output_stream(at) as stream:
            for piece in pieces:
                stream.write(piece)
        return
    # A disk, unlike an object store, shows a file while it is written.
    path = Path(at)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.tmp")
    with staged.open("wb") as file:
        for piece in pieces:
            file.write(piece)
    sync(staged)
    staged.replace(path)
    sync(path.parent)


def _pour(read: Callable[[int], bytes], *takers: Callable[[bytes], object]) -> None:
    while piece := read(_PIECE):
        for take in takers:
            take(piece)


# What the clients do otherwise: Google's goes on trying for 15 minutes, and Amazon's begins an
# upload in parts even for a file of one byte, which takes three requests and not one put.
_OPTIONS = {"gs": ("retry_limit_seconds", "30"), "s3": ("allow_delayed_open", "true")}


def _tuned(uri: str) -> str:
    """The URI with our options for the client of its scheme, where it has none of its own."""
    parts = urlsplit(uri)
    if parts.scheme not in _OPTIONS:
        return uri
    query = dict([_OPTIONS[parts.scheme], *parse_qsl(parts.query)])
    return urlunsplit(parts._replace(query=urlencode(query)))


def _lasts(error: OSError) -> bool:
    if isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError):
        return True
    return any(word in str(error) for word in _LASTING)


def _reason(error: OSError) -> str:
    text = error.strerror or str(error)
    return " ".join(text.split())[:400]
