"""The screen during a run: the progress is shown, everything else goes to a file."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from orchestrator.redaction.streams import redacted_writes, scrub

PIPE_WIDTH = 200
"""Columns where the reader is no terminal: what is read by programs is not broken to a width."""


def wide_console() -> Console:
    """Standard output, as wide as the terminal; wider than any where it is none."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


@contextmanager
def captured_output(log: Path) -> Iterator[Console]:
    """Sends everything that is printed to a file, except through the console that it yields.

    Ray prints from C++ and from processes of its own, so it is the descriptors that are turned.
    The console goes on working afterwards; an empty log is not kept. Secrets are taken out as they
    are printed, and where code without Python prints, at the end.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    screen = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, errors="replace")
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        with redacted_writes(sys.stdout, sys.stderr, screen):
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
