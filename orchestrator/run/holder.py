"""Who holds a run: what its lease says, and whether that process is still there."""

import json
import os
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
from pydantic import TypeAdapter, ValidationError

from orchestrator.checkpoint.files import storage_errors

LEASE_FILE = "lease.json"
TERM_S = 30.0
"""For how long a lease is good without being renewed."""
# A boot time is a whole second, and may be another one when it is asked again.
_SAME_BIRTH_S = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """What lease.json says.

    Attributes:
        identity: tells machines and containers apart: within one, process numbers can be compared.
        birth: when the process began, in seconds since its machine did.
        started_at: Unix time in seconds, by the clock of its host.
        renewals: how often it has been renewed; this is what changes while the holder is alive.
    """

    token: str
    host: str
    identity: str
    pid: int
    birth: float
    started_at: float
    term_s: float
    renewals: int = 0

    def to_bytes(self) -> bytes:
        """The content of lease.json."""
        return json.dumps(asdict(self), indent=1).encode()

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.started_at))
        return f"process {self.pid} on {self.host} since {since}"


_ADAPTER = TypeAdapter(Holder)


@dataclass(frozen=True, kw_only=True, slots=True)
class Here:
    """This process, and what it can tell about others beside it; tests make one of their own."""

    identity: str
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    birth_of: Callable[[int], float | None]

    def knows(self, holder: Holder) -> bool:
        """Whether the holder's process number means the same here as there."""
        return holder.identity == self.identity

    def sees(self, holder: Holder) -> bool:
        """Whether the holder, known here, is alive: a number may have been given to another."""
        birth = self.birth_of(holder.pid)
        return birth is not None and abs(birth - holder.birth) < _SAME_BIRTH_S

    def new_holder(self) -> Holder:
        """This process as the holder of a new lease."""
        return Holder(
            token=uuid.uuid4().hex,
            host=self.host,
            identity=self.identity,
            pid=self.pid,
            birth=self.birth_of(self.pid) or 0.0,
            started_at=time.time(),
            term_s=TERM_S,
        )


def this_process() -> Here:
    """Where this process runs."""
    return Here(identity=_identity(), birth_of=_birth_of)


def read_lease(run_dir: Path) -> bytes | None:
    """The content of lease.json, None where nobody has a lease."""
    path = run_dir / LEASE_FILE
    with storage_errors("read", path):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None


def parse_lease(content: bytes) -> Holder | None:
    """The holder, None where the content is damaged."""
    try:
        return _ADAPTER.validate_json(content)
    except ValidationError:
        return None


def _identity() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # Containers on one machine, and those that share a name, count processes on their own.
        processes = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return f"{socket.gethostname()} {uuid.getnode():012x}"
    return f"{socket.gethostname()} {boot} {processes}"


def _birth_of(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        # Against the boot, as psutil adds a wall clock that may be set while the process runs.
        return process.create_time() - psutil.boot_time()
    except psutil.NoSuchProcess:
        return None
