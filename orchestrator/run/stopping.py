"""A request to end a run with a last checkpoint, made from outside: a file in its directory."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.run.directory import replace_file

REQUEST_FILE = "end-request"
LOOK_EVERY_S = 0.5


def request_end(run_dir: Path, *, token: str) -> None:
    """Asks the driver that holds the lease of this token to save and end.

    A driver that follows it, after a crash, does not heed the request: it was not asked.

    Raises:
        CheckpointError: the directory cannot be written.
    """
    replace_file(run_dir / REQUEST_FILE, json.dumps({"lease": token}))


@contextmanager
def requests_heeded(
    run_dir: Path, token: str, ask: Callable[[], None], *, look_every_s: float = LOOK_EVERY_S
) -> Iterator[None]:
    """Calls `ask` once, from a thread, when the holder of this token is asked to end."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(look_every_s):
            if _is_asked(run_dir / REQUEST_FILE, token):
                ask()
                return

    thread = threading.Thread(target=watch, name="end-requests", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _is_asked(path: Path, token: str) -> bool:
    try:
        return bool(json.loads(path.read_bytes())["lease"] == token)
    # Not there, out of reach for a moment, or not ours: looked for again.
    except (OSError, ValueError, KeyError, TypeError):
        return False
