"""The copy of a run on another storage: its checkpoints, and the records that a resume needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.checkpoint.manifest import (
    MANIFEST_NAME,
    CheckpointInfo,
    DamagedError,
    Manifest,
    parse_checkpoint_name,
)
from orchestrator.checkpoint.remote import RemoteFiles
from orchestrator.checkpoint.retention import RetentionPolicy

_CHECKPOINTS, _RECORDS = "checkpoints", "records"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The checkpoints in a mirror, newest first, and for each damaged one, why it is none."""

    good: tuple[CheckpointInfo, ...]
    damaged: Mapping[str, str]


class Mirror:
    """One run below a prefix; one process writes.

    A checkpoint there counts once its MANIFEST.json does, which comes last, with one put.
    """

    def __init__(self, remote: RemoteFiles, prefix: str) -> None:
        self._remote = remote
        self._prefix = prefix
        # What each record looked like when it was sent.
        self._sent: dict[str, tuple[int, int]] = {}

    @property
    def place(self) -> str:
        """Where it is, in words."""
        return f"{self._remote.shown}/{self._prefix}"

    def put_checkpoint(self, info: CheckpointInfo) -> None:
        """Copies a committed checkpoint.

        Raises:
            FileNotFoundError: it was pruned meanwhile.
            CheckpointError: the storage did not take it, or a file is not what was committed.
        """
        for entry in info.manifest.files:
            sent = self._remote.put_file(info.path / entry.path, self._file(info.name, entry.path))
            if sent != entry.sha256:
                raise DamagedError(
                    f"{info.path / entry.path} has SHA-256 {sent}, wanted {entry.sha256}"
                )
        self._remote.put_bytes(info.manifest.to_bytes(), self._file(info.name, MANIFEST_NAME))

    def put_records(self, files: Mapping[str, Path]) -> None:
        """Copies those of the files that have changed since they were copied last."""
        for name, path in files.items():
            try:
                status = path.stat()
                looks = status.st_mtime_ns, status.st_size
                if self._sent.get(name) != looks:
                    self._remote.put_file(path, f"{self._prefix}/{_RECORDS}/{name}")
                    self._sent[name] = looks
            except FileNotFoundError:
                continue  # It is being replaced just now, and comes next time.

    def listing(self) -> Listing:
        """What is there, by manifests and sizes; hashes are for `verify` and `fetch`."""
        sizes = self._remote.sizes(f"{self._prefix}/{_CHECKPOINTS}")
        good: list[CheckpointInfo] = []
        damaged = {}
        for path in sizes:
            name, _, file = path.partition("/")
            if file != MANIFEST_NAME or parse_checkpoint_name(name) is None:
                continue
            try:
                manifest = Manifest.from_bytes(self._remote.read(self._file(name, MANIFEST_NAME)))
                _check_sizes(name, manifest, sizes)
            except DamagedError as error:
                damaged[name] = str(error)
            else:
                good.append(CheckpointInfo(path=Path(name), manifest=manifest))
        good.sort(key=lambda info: info.age_key, reverse=True)
        return Listing(good=tuple(good), damaged=damaged)

    def verify(self, info: CheckpointInfo) -> None:
        """Reads every file back and compares it; raises DamagedError naming the first wrong."""
        self._read_all(info, None)

    def fetch(self, info: CheckpointInfo, directory: Path) -> None:
        """Copies a checkpoint's files into a local directory, and compares each with the manifest.

        Raises:
            DamagedError: one is not what was committed.
        """
        self._read_all(info, directory)

    def fetch_records(self, directory: Path) -> None:
        """Copies the records into a local directory."""
        for name in self._remote.sizes(f"{self._prefix}/{_RECORDS}"):
            target = directory / name
            # The names come from outside.
            if target.resolve().is_relative_to(directory.resolve()):
                self._remote.fetch(f"{self._prefix}/{_RECORDS}/{name}", target)

    def prune(self, retention: RetentionPolicy) -> None:
        """Deletes what retention does not keep, once the newest was read back and verifies.

        Raises:
            CheckpointError: it does not verify, or the storage fails; older ones are left then.
        """
        checkpoints = self.listing().good
        kept = retention.keep(checkpoints)
        unwanted = [info for info in checkpoints[1:] if info.name not in kept]
        if not unwanted:
            return
        self.verify(checkpoints[0])
        for info in unwanted:
            # The mark first: half a checkpoint must not look like one.
            for path in (MANIFEST_NAME, *(entry.path for entry in info.manifest.files)):
                self._remote.delete(self._file(info.name, path))

    def _read_all(self, info: CheckpointInfo, directory: Path | None) -> None:
        for entry in info.manifest.files:
            target = None if directory is None else directory / entry.path
            found = self._remote.fetch(self._file(info.name, entry.path), target)
            if found != entry.sha256:
                raise DamagedError(
                    f"{self.place}/{_CHECKPOINTS}/{info.name}/{entry.path} has SHA-256 {found},"
                    f" wanted {entry.sha256}"
                )

    def _file(self, checkpoint: str, path: str) -> str:
        return f"{self._prefix}/{_CHECKPOINTS}/{checkpoint}/{path}"


def _check_sizes(name: str, manifest: Manifest, sizes: Mapping[str, int]) -> None:
    if manifest.name != name:
        raise DamagedError(f"{name}: {MANIFEST_NAME} belongs to {manifest.name}")
    for entry in manifest.files:
        size = sizes.get(f"{name}/{entry.path}")
        if size is None:
            raise DamagedError(f"{name}/{entry.path} is missing, wanted {entry.size} bytes")
        if size != entry.size:
            raise DamagedError(f"{name}/{entry.path} has {size} bytes, wanted {entry.size}")
