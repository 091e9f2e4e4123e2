"""What a run's drivers and workers have printed, from its storage alone."""

import time
from collections.abc import Iterator
from pathlib import Path

from orchestrator.checkpoint.files import storage_errors
from orchestrator.run.directory import RunDirectory
from orchestrator.submit.stopping import at_work

_LOOK_EVERY_S = 0.3


def stored_lines(directory: RunDirectory, *, follow: bool) -> Iterator[str]:
    """The lines of all drivers, the oldest first.

    Args:
        follow: go on as long as a driver is at work.

    Raises:
        CheckpointError: a log cannot be read.
    """
    done: set[Path] = set()
    while True:
        # Looked at before the logs: what is printed last is still read.
        alive = follow and at_work(directory) is not None
        logs = [log for log in directory.all_logs() if log not in done]
        for log in logs:
            newest = log == logs[-1]
            yield from _lines(log, directory if alive and newest else None)
            done.add(log)
        if not alive:
            return
        time.sleep(_LOOK_EVERY_S)


def _lines(log: Path, followed: RunDirectory | None) -> Iterator[str]:
    """The lines of one log; of a followed run until its driver ends, or another one begins."""
    rest = ""
    with storage_errors("read", log), log.open(encoding="utf-8", errors="replace") as file:
        while True:
            ends = followed is None or _is_over(followed, log)
            while piece := file.read(1 << 16):
                *whole, rest = (rest + piece).split("\n")
                yield from whole
            if ends:
                break
            time.sleep(_LOOK_EVERY_S)
    if rest:
        yield rest


def _is_over(directory: RunDirectory, log: Path) -> bool:
    return at_work(directory) is None or directory.all_logs()[-1:] != [log]
