"""Outlives a driver for a moment: ends whatever a driver that was killed leaves behind."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from orchestrator.run.reap import SESSION_VARIABLE, Session, reap

_GOOD_ORDER = b"done"


@contextmanager
def guarded(session: Session, environment: Mapping[str, str]) -> Iterator[None]:
    """A process that reaps the session if this one ends in the middle, however it does.

    It holds the other end of a pipe, which the system closes with this process.

    Args:
        environment: of the guard. It must not bear the session's mark: it is not to end itself.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator.run.guard", session.mark, str(session.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={name: value for name, value in environment.items() if name != SESSION_VARIABLE},
        # Out of reach of the Ctrl-C that is meant for the driver.
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.communicate(_GOOD_ORDER)


def main(session: Session) -> None:
    """Waits for the driver's end, and reaps unless it went in good order."""
    if sys.stdin.buffer.read() != _GOOD_ORDER:
        reap(session)


if __name__ == "__main__":
    main(Session(mark=sys.argv[1], folder=Path(sys.argv[2])))
