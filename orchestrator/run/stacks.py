"""The Python stacks of ranks that hang, and their end; runs on the node of the ranks."""

import contextlib
import re
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from orchestrator.train.pulse import DUMP_SIGNAL

# A rank writes its stacks in milliseconds, if it can at all.
_DUMP_LIMIT_S, _SETTLED_S, _LOOK_EVERY_S = 3.0, 0.2, 0.05
# A boot time is a whole second, and may be another one when it is asked again.
_SAME_BIRTH_S = 2.0
_NOT_THE_USERS = (
    "/lib/python",
    "/orchestrator/train/",
    "/orchestrator/data/",
    "/orchestrator/run/",
    "<",
)
_FRAME = re.compile(r'  File "(?P<file>.*)", line (?P<line>\d+) in (?P<function>.+)')


@dataclass(frozen=True, kw_only=True, slots=True)
class RankProcess:
    """Where a rank runs, and the file that it writes its stacks to."""

    rank: int
    node: str
    pid: int
    birth: float
    thread: int
    stacks: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Examined:
    """What was found of a rank: the state of its process in psutil's words, and its stacks."""

    status: str
    dump: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One call of a stack."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


def end_here(ranks: Sequence[RankProcess]) -> dict[int, Examined]:
    """Asks ranks on this machine for their stacks, and kills them all."""
    found: dict[int, Examined] = {}
    asked: list[tuple[RankProcess, psutil.Process, str, int]] = []
    for rank in ranks:
        process = _process(rank)
        if process is None:
            found[rank.rank] = Examined(status="gone")
            continue
        with contextlib.suppress(psutil.NoSuchProcess):
            status = str(process.status())
            asked.append((rank, process, status, _size(rank.stacks)))
            process.send_signal(DUMP_SIGNAL)
            if status == psutil.STATUS_STOPPED:
                # It takes the signal when it runs again, which is not for long.
                process.send_signal(signal.SIGCONT)
    deadline = time.monotonic() + _DUMP_LIMIT_S
    for rank, _, status, before in asked:
        dump = _dumped(rank.stacks, before, deadline)
        found[rank.rank] = Examined(status=status, dump=dump)
    # None is left: one that waits for a killed one could wait for long.
    for _, process, _, _ in asked:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return found


def stack_of(dump: str, thread: int) -> list[Frame]:
    """The calls of one thread, the innermost first, out of all that a process wrote."""
    name = f"0x{thread:016x} "
    frames: list[Frame] = []
    inside = False
    for line in dump.splitlines():
        if "hread 0x" in line:
            inside = name in line
        elif inside and (match := _FRAME.fullmatch(line)):
            number = int(match["line"])
            frames.append(Frame(file=match["file"], line=number, function=match["function"]))
    return frames


def telling(frames: Sequence[Frame]) -> Frame | None:
    """The call to name: the innermost of the user's code, or else the innermost."""
    for frame in frames:
        if not any(part in frame.file for part in _NOT_THE_USERS):
            return frame
    return frames[0] if frames else None


def waits_for_data(frames: Sequence[Frame]) -> bool:
    """Whether a rank is where the training takes its next batch."""
    return any("/orchestrator/data/" in frame.file for frame in frames)


def stacks_as_text(found: Mapping[int, Examined]) -> str:
    """All stacks of all ranks, for a file."""
    return "\n".join(
        f"--- rank {rank} ({examined.status}) ---\n{examined.dump or 'it gave no stack'}"
        for rank, examined in sorted(found.items())
    )


def _process(rank: RankProcess) -> psutil.Process | None:
    """The process, None where it is gone: its number may have been given to another."""
    try:
        process = psutil.Process(rank.pid)
        birth = process.create_time() - psutil.boot_time()
    except psutil.NoSuchProcess:
        return None
    alive = process.status() != psutil.STATUS_ZOMBIE
    return process if alive and abs(birth - rank.birth) < _SAME_BIRTH_S else None


def _dumped(path: Path, before: int, deadline: float) -> str:
    """What was added to a file, once nothing more comes."""
    size, since = before, time.monotonic()
    while (now := time.monotonic()) < deadline:
        if (grown := _size(path)) != size:
            size, since = grown, now
        elif size > before and now - since >= _SETTLED_S:
            break
        time.sleep(_LOOK_EVERY_S)
    return _tail(path, before)


def _tail(path: Path, start: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
