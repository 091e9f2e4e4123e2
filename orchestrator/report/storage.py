"""How much room a run takes."""

from contextlib import suppress
from pathlib import Path


def entry_sizes(run_dir: Path) -> dict[str, int]:
    """Returns the bytes of each entry of a run directory, a folder with all that is in it.

    What is deleted while we look counts as far as it was seen.
    """
    return {entry.name: _size(entry) for entry in sorted(run_dir.iterdir())}


def _size(path: Path) -> int:
    size = 0
    with suppress(FileNotFoundError, NotADirectoryError):
        if not path.is_dir() or path.is_symlink():
            return path.lstat().st_size
        for entry in path.iterdir():
            size += _size(entry)
    return size
