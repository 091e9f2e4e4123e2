"""A job's secrets on the way to it: a file that only its user can read, gone once it was read.

Whatever stands in a job's runtime environment can be read by all who may talk to the cluster, and
so can its package. Where the client and the job share a file system, the variables go this way.
"""

import json
import os
import stat
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path

from orchestrator.errors import SpecError
from orchestrator.redaction.process import hide

SECRET_FILE_VARIABLE = "ORCHESTRATOR_SECRET_FILE"
"""Names the file to a job."""


def write_secret_file(path: Path, variables: Mapping[str, str]) -> Path:
    """Writes variables for one job; the folder must exist.

    Raises:
        SpecError: the file cannot be written.
    """
    staged = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with suppress(FileNotFoundError):
            staged.unlink()
        # Never readable for others, not for a moment.
        descriptor = os.open(staged, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(dict(variables), file)
            file.flush()
            os.fsync(descriptor)
        staged.replace(path)
    except OSError as error:
        raise SpecError(f"{path}: the job's secrets cannot be written: {error.strerror}") from None
    return path


def take_secret_file(environ: MutableMapping[str, str]) -> None:
    """Puts what such a file holds into the environment, keeps it out of all texts, deletes it.

    Nothing happens without one. A variable that is set already stays as it is.

    Raises:
        SpecError: the file is not there, or others can read or have written it.
    """
    if (name := environ.pop(SECRET_FILE_VARIABLE, None)) is None:
        return
    path = Path(name)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, encoding="utf-8") as file:
            status = os.fstat(descriptor)
            if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
                raise SpecError(
                    f"{path}: wanted a file that belongs to this job's user and that nobody else "
                    "can read"
                )
            variables = json.load(file)
        path.unlink()
    except OSError as error:
        raise SpecError(
            f"{path}: the job's secrets cannot be read: {error.strerror}",
            hint="each submission writes them anew; a job that is started twice has no other copy",
        ) from None
    except ValueError:
        raise SpecError(f"{path}: is no file of secrets as `submit` writes it") from None
    hide(variables)
    for key, value in variables.items():
        environ.setdefault(key, value)
