"""Development clusters of this machine as clients meet them: by address, token and loopback."""

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

HOME_VARIABLE = "ORCHESTRATOR_HOME"
"""Names the folder of what is kept between commands; by default `~/.orchestrator`."""
RECORD_FILE = "cluster.json"
TOKEN_FILE = "token"
TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
# Ray's word for "this machine alone", whatever the system: without it Ray replaces 127.0.0.1 by the
# host's own address, where such a cluster does not listen (2.60).
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def clusters_folder() -> Path:
    """Where each development cluster of this user has a folder of its name."""
    home = os.environ.get(HOME_VARIABLE)
    return (Path(home) if home else Path.home() / ".orchestrator") / "clusters"


def token_file_of(address: str) -> Path | None:
    """The token's file of the development cluster that listens there, None where none does.

    Args:
        address: "127.0.0.1:PORT" of a cluster, or "http://127.0.0.1:PORT" of its dashboard.
    """
    for record in sorted(clusters_folder().glob(f"*/{RECORD_FILE}")):
        try:
            found = json.loads(record.read_text())
        except (OSError, ValueError):
            # Of a cluster that is just being started or removed: whoever asks for it is told.
            continue
        if address in (found.get("address"), found.get("dashboard")):
            return record.with_name(TOKEN_FILE)
    return None


def as_client_of(address: str) -> AbstractContextManager[None]:
    """Has this process be a client of the development cluster at an address, if one is there."""
    token_file = token_file_of(address)
    return nullcontext() if token_file is None else using_token(token_file)


@contextmanager
def using_token(token_file: Path) -> Iterator[None]:
    """Has this process be a client of such a cluster, and leaves the environment as it was."""
    # Only here: who looks for a file does not wait for Ray's import.
    from ray._private import ray_constants
    from ray._raylet import (  # type: ignore[attr-defined] # compiled, untyped
        AuthenticationTokenLoader,
        Config,
    )

    changed = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_file), **LOOPBACK_ONLY}
    before = {name: os.environ.get(name) for name in (*changed, "RAY_AUTH_TOKEN")}
    beyond_loopback = ray_constants.ENABLE_RAY_CLUSTER

    def forget() -> None:
        # Ray reads all of this once, and keeps it.
        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()

    os.environ.pop("RAY_AUTH_TOKEN", None)
    os.environ.update(changed)
    ray_constants.ENABLE_RAY_CLUSTER = False
    forget()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        ray_constants.ENABLE_RAY_CLUSTER = beyond_loopback
        forget()
