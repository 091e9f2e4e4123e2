"""How much room a run takes."""

from pathlib import Path


def entry_sizes(run_dir: Path) -> dict[str, int]:
    """Returns the bytes of each entry of a run directory, a folder with all that is in it."""
    return {entry.name: _size(entry) for entry in sorted(run_dir.iterdir())}


def _size(path: Path) -> int:
    if path.is_dir() and not path.is_symlink():
        return sum(_size(entry) for entry in path.iterdir())
    return path.lstat().st_size
