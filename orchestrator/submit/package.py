"""The package of a job: what of the working directory travels, as one zip file."""

import os
import stat
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.checkpoint.files import storage_errors
from orchestrator.errors import SpecError
from orchestrator.submit.ignore import IGNORE_FILE, Rules, rules_of
from orchestrator.units import format_bytes

SPEC_FILE = "orchestrator-job.yaml"
"""The resolved spec, beside the code."""
DEFAULT_LIMIT = 64 * 2**20
_SHOWN = 5
# The same code makes the same bytes, and a cluster that has them gets them no second time.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedFile:
    """A file of a package: its path in there, where it lies, its size in bytes."""

    name: str
    path: Path
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What of a directory travels."""

    root: Path
    files: tuple[PackedFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files, as they lie there."""
        return sum(file.size for file in self.files)

    def has(self, path: Path) -> bool:
        """Whether a file of the directory travels."""
        return any(file.path == path for file in self.files)


def contents_of(
    root: Path, *, limit: int = DEFAULT_LIMIT, excludes: Sequence[str] = ()
) -> Contents:
    """What of a directory travels.

    Links are followed as far as they stay inside; what they lead out to stays behind.

    Args:
        limit: bytes that all files may have together.
        excludes: patterns that have the last word over the lists in the directory.

    Raises:
        SpecError: it is too large, with the biggest files, or cannot be read.
    """
    root = root.resolve()
    if not root.is_dir():
        raise SpecError(f"runtime.working_dir: {root} is no directory")
    try:
        files = tuple(_walk(root, root, rules_of(root, more=excludes), (root,)))
    except OSError as error:
        raise SpecError(f"{error.filename}: cannot be packed: {error.strerror}") from error
    contents = Contents(root=root, files=files)
    if contents.size > limit:
        raise SpecError(_too_large(contents, limit), hint=_TOO_LARGE_HINT)
    return contents


def write_package(contents: Contents, spec: str, target: Path) -> Path:
    """Writes the zip file, with the spec in it.

    Raises:
        SpecError: a file can no longer be read.
        CheckpointError: the target cannot be written.
    """
    with (
        storage_errors("write", target),
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as package,
    ):
        for file in contents.files:
            if file.name == SPEC_FILE:
                continue
            try:
                data, mode = file.path.read_bytes(), file.path.stat().st_mode
            except OSError as error:
                raise SpecError(f"{file.path}: cannot be packed: {error.strerror}") from error
            _add(package, file.name, data, executable=bool(mode & stat.S_IXUSR))
        _add(package, SPEC_FILE, spec.encode(), executable=False)
    return target


_TOO_LARGE_HINT = (
    f"list what is not needed in {IGNORE_FILE} (patterns as in .gitignore), or raise"
    " --package-limit; data is read from where it lies, and need not travel"
)


def _add(package: zipfile.ZipFile, name: str, data: bytes, *, executable: bool) -> None:
    entry = zipfile.ZipInfo(name, date_time=_NO_TIME)
    entry.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    package.writestr(entry, data)


def _walk(folder: Path, root: Path, rules: Rules, above: tuple[Path, ...]) -> Iterator[PackedFile]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        name = path.relative_to(root).as_posix()
        is_folder = entry.is_dir()
        if rules.leave_out(name, is_folder=is_folder):
            continue
        real = path
        if entry.is_symlink():
            real = path.resolve()
            if not real.is_relative_to(root) or real in above:
                continue
        if is_folder:
            yield from _walk(path, root, rules.within(name, path), (*above, real))
        # Sockets and the like have nothing to pack.
        elif entry.is_file():
            yield PackedFile(name=name, path=path, size=entry.stat().st_size)


def _too_large(contents: Contents, limit: int) -> str:
    biggest = sorted(contents.files, key=lambda file: (-file.size, file.name))[:_SHOWN]
    lines = [f"  {format_bytes(file.size):>9}  {file.name}" for file in biggest]
    return (
        f"the package of {contents.root} would have {format_bytes(contents.size)} in"
        f" {len(contents.files)} files, and {format_bytes(limit)} are allowed; the biggest:\n"
        + "\n".join(lines)
    )
