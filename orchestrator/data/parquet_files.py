"""Which files a source of the spec names, in a fixed order."""

import difflib
import glob
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from orchestrator.errors import DataError


def list_files(paths: Sequence[str], *, root: Path, where: str) -> list[Path]:
    """The files of all paths: in the order of the paths, and within one of their names.

    Raises:
        DataError: a path leads to no file, or two of them to the same one.
    """
    files = [file for path in paths for file in _files(path, root=root, where=where)]
    for file, count in Counter(file.resolve() for file in files).items():
        if count > 1:
            raise DataError(f"{where}: {file} is named {count} times by {', '.join(paths)}")
    return files


def _files(path: str, *, root: Path, where: str) -> list[Path]:
    try:
        return _expand(path, root=root, where=where)
    except OSError as error:
        raise DataError(f"{where}: {error.filename or path}: {error.strerror or error}") from error


def _expand(path: str, *, root: Path, where: str) -> list[Path]:
    full = root / path
    if full.is_dir():
        files = sorted(
            file
            for file in full.rglob("*.parquet")
            if not any(part.startswith(("_", ".")) for part in file.relative_to(full).parts)
        )
        if not files:
            raise DataError(f"{where}: the folder {full} holds no *.parquet file{_first(full)}")
        return files
    if full.is_file():
        return [full]
    files = sorted(Path(match) for match in glob.glob(str(full), recursive=True))  # noqa: PTH207 - absolute
    if not files:
        what = "matches no file" if glob.has_magic(path) else "does not exist"
        raise DataError(f"{where}: {full} {what}{_nearest(full)}")
    return [file for file in files if file.is_file()]


def _first(folder: Path) -> str:
    names = sorted(item.name for item in folder.iterdir())
    return f", but {names[0]}" + (" and others" if len(names) > 1 else "") if names else ""


def _nearest(path: Path) -> str:
    """A question that offers what the part of a path that is not there may have meant."""
    while not path.parent.is_dir() and path != path.parent:
        path = path.parent
    close = difflib.get_close_matches(path.name, os.listdir(path.parent), n=1)  # noqa: PTH208 - names
    return f'; did you mean "{path.parent / close[0]}"?' if close else ""
