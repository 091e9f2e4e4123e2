"""The screen during a run: the progress is shown, everything else goes to a file."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TextIO

from rich.console import Console

from orchestrator.redaction.streams import redacted_writes, scrub

PIPE_WIDTH = 200
"""Columns where the reader is no terminal: what is read by programs is not broken to a width."""
_COPY_EVERY_S = 0.2


def wide_console() -> Console:
    """Standard output, as wide as the terminal; wider than any where it is none."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


@contextmanager
def captured_output(log: Path, *, copied: bool = False) -> Iterator[Console]:
    """Sends everything that is printed to a file, except through the console that it yields.

    Ray prints from C++ and from processes of its own, so it is the descriptors that are turned.
    The console goes on working afterwards; an empty log is not kept. Secrets are taken out as they
    are printed, and where code without Python prints, at the end.

    Args:
        copied: whether what goes to the file is shown too, as it is where nobody sees the file.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    screen = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, errors="replace")
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        with (
            redacted_writes(sys.stdout, sys.stderr, screen),
            _copied(log, screen) if copied else nullcontext(),
        ):
            yield Console(file=screen)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in zip((1, 2), kept, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)
        if log.stat().st_size == 0:
            log.unlink()
        else:
            scrub(log)


@contextmanager
def _copied(log: Path, screen: TextIO) -> Iterator[None]:
    """Copies whole lines from the end of a file to the screen, in a thread."""
    ended = threading.Event()

    def copy() -> None:
        # A reader that is gone is no reason to end a training.
        with log.open(encoding="utf-8", errors="replace") as file, suppress(OSError, ValueError):
            file.seek(0, os.SEEK_END)
            rest = ""
            while True:
                last = ended.wait(_COPY_EVERY_S)
                *lines, rest = (rest + file.read()).split("\n")
                if last and rest:
                    lines.append(rest)
                if lines:
                    screen.write("".join(f"{line}\n" for line in lines))
                    screen.flush()
                if last:
                    return

    thread = threading.Thread(target=copy, name="log-copy", daemon=True)
    thread.start()
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        ended.set()
        thread.join()
