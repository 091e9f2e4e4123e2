"""Python packages that a job adds to its environment: exact pins, and nothing else pip would read.

A line of a requirements file can be much more than a package: an option (`--index-url`), another
file (`-r`), a folder or a URL whose code runs as it is built (`-e`, `git+https:`). None of that is
taken, whoever trusts the spec.
"""

import re
from pathlib import Path, PurePosixPath

from orchestrator.errors import SpecError

WANTED_REQUIREMENT = (
    'wanted an exact pin such as "einops==0.8.1" (its hash may follow: --hash=sha256:...), or a '
    "requirements file below runtime.working_dir whose name ends in .txt"
)
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_PIN = re.compile(
    rf"(?P<name>{_NAME})(?:\[{_NAME}(?:,{_NAME})*\])?"
    r"==[0-9](?:[0-9A-Za-z.!+_-]*[0-9A-Za-z])?"
    r"(?:\s+--hash=sha256:[0-9a-f]{64})*"
)
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*\.txt")
# The cluster's own version decides: another one could not talk to it.
_OF_THE_CLUSTER = frozenset({"ray", "training-orchestrator"})
_LARGEST_FILE = 1 << 20


def check_requirement(text: str) -> str:
    """Returns a pin, or the path of a requirements file, unchanged.

    Raises:
        ValueError: It is neither.
    """
    if is_requirements_file(text):
        if ".." in PurePosixPath(text).parts:
            raise ValueError(WANTED_REQUIREMENT)
        return text
    return _check_pin(text)


def is_requirements_file(text: str) -> bool:
    """Whether an entry names a file and not a package."""
    return _FILE.fullmatch(text) is not None


def read_requirements(path: Path) -> tuple[str, ...]:
    """The pins in a requirements file; comments, and lines that go on, may stand there too.

    Raises:
        SpecError: It cannot be read, or has anything else in it.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise SpecError(f"runtime.pip: {path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SpecError(f"runtime.pip: {path}: is no text in UTF-8") from None
    if len(content) > _LARGEST_FILE:
        raise SpecError(f"runtime.pip: {path}: is larger than 1MiB")
    pins, started = [], ""
    for number, line in enumerate(text.splitlines(), start=1):
        started += re.sub(r"(?:^|\s)#.*", "", line).strip()
        if started.endswith("\\"):
            started = f"{started[:-1].rstrip()} "
            continue
        if started:
            try:
                pins.append(_check_pin(started))
            except ValueError as error:
                shown = started if len(started) <= 60 else f"{started[:56]}..."
                raise SpecError(f'runtime.pip: {path}:{number}: got "{shown}", {error}') from None
        started = ""
    if started:
        raise SpecError(f"runtime.pip: {path}: its last line is to go on, and ends")
    return tuple(pins)


def _check_pin(text: str) -> str:
    match = _PIN.fullmatch(text)
    if match is None:
        raise ValueError(WANTED_REQUIREMENT)
    name = re.sub(r"[-_.]+", "-", match["name"]).lower()
    if name in _OF_THE_CLUSTER:
        raise ValueError(f"wanted no {name}: a job runs with the one that its cluster has")
    return text
