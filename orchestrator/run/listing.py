"""The runs in a folder, and the one that a person means."""

import difflib
import os
from pathlib import Path

from orchestrator.checkpoint.files import storage_errors
from orchestrator.errors import OrchestratorError, UnknownRunError
from orchestrator.report.row import DamagedRow, RunRow, newest_first
from orchestrator.run.directory import RunDirectory
from orchestrator.run.result import row_of


def list_runs(storage: Path) -> list[RunRow | DamagedRow]:
    """Every run in a folder, the newest first; other directories are left out.

    Raises:
        CheckpointError: the folder cannot be read.
    """
    return newest_first([_row(run) for run in _runs_in(storage)])


def find_run(run: str, *, storage: Path) -> RunDirectory:
    """The run with this name in a folder, or with this directory.

    Raises:
        UnknownRunError: there is none; with those whose names are nearest.
    """
    try:
        # Whole paths, as a name is wanted even where the run is given as ".".
        for path in map(_whole, (storage / run, Path(run))):
            if (directory := RunDirectory(path=path)).is_run:
                return directory
        is_folder = Path(run).is_dir()
    except OSError as error:
        # Such as a name that is too long for any file.
        raise UnknownRunError(f'no run "{run}" in {storage}: {error.strerror}') from error
    names = sorted(directory.path.name for directory in _runs_in(storage))
    close = difflib.get_close_matches(run, names, n=3)
    if is_folder:
        message = f"{run} is a directory, but not that of a run"
    else:
        message = f'no run "{run}" in {storage}'
    if close:
        message += f"; did you mean {' or '.join(close)}?"
    elif not names:
        message += ", and no other run either"
    raise UnknownRunError(message, hint="orchestrator runs [DIR] lists the runs in a directory")


def _runs_in(storage: Path) -> list[RunDirectory]:
    with storage_errors("list", storage):
        paths = sorted(_whole(storage).iterdir()) if storage.is_dir() else []
    directories = [RunDirectory(path=path) for path in paths]
    return [directory for directory in directories if directory.is_run]


def _row(directory: RunDirectory) -> RunRow | DamagedRow:
    try:
        return row_of(directory)
    except OrchestratorError as error:
        path = directory.path
        try:
            last_at = path.stat().st_mtime
        except OSError:
            last_at = 0.0
        return DamagedRow(name=path.name, run_dir=path, reason=str(error), last_at=last_at)


def _whole(path: Path) -> Path:
    return Path(os.path.normpath(Path.cwd() / path))
