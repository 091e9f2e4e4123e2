"""Whether the kernel has killed processes of this machine because its memory was full."""

from dataclasses import replace
from pathlib import Path

from orchestrator.run.failure import Failure

# Of the whole machine, and of the container that this process is in, which cannot see the former.
COUNTERS = (Path("/proc/vmstat"), Path("/sys/fs/cgroup/memory.events"))


class OomKills:
    """Names deaths that the kernel's out-of-memory killer explains, as they look like any SIGKILL.

    It sees the machine of the driver only; of other nodes Ray's own memory monitor tells.
    """

    def __init__(self, counters: tuple[Path, ...] = COUNTERS) -> None:
        self._counters = counters
        self._seen = self._count()

    def named(self, failure: Failure) -> Failure:
        """The failure, with the cause if the killer has struck since the last one."""
        before, self._seen = self._seen, self._count()
        if not failure.died or self._seen <= before:
            return failure
        cause = "the system has killed a process of this host, which was out of memory"
        return replace(failure, reason=f"{failure.reason} ({cause})")

    def _count(self) -> int:
        return sum(map(_oom_kills, self._counters))


def _oom_kills(path: Path) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:  # another system, or another version of cgroups: nothing is known
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
