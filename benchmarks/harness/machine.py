"""What a benchmark ran on: figures of another machine, or of a busy one, are other figures."""

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

from benchmarks.harness.repeat import ROOT

_PACKAGES = ("ray", "torch", "pyarrow", "numpy")
_CPUS = Path("/proc/cpuinfo")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The processor and its cores, the memory, versions, and how busy all was at the start."""

    cpu: str
    cores: int
    memory_bytes: int
    system: str
    versions: dict[str, str]
    load: float

    @property
    def text(self) -> str:
        """In one line."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return (
            f"{self.cpu}, {self.cores} cores, {self.memory_bytes / (1 << 30):.1f} GiB, "
            f"{self.system}; {versions}; load {self.load:.1f} at the start"
        )


def this_machine() -> Machine:
    """What this process runs on, now."""
    versions = {"Python": platform.python_version()}
    versions |= {name: metadata.version(name) for name in _PACKAGES}
    return Machine(
        cpu=_cpu(),
        cores=psutil.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        system=platform.system(),
        versions=versions,
        load=round(os.getloadavg()[0], 1),
    )


def commit() -> str:
    """The commit of the checkout, with "+" behind it where files have changed since."""
    number = _git("rev-parse", "--short", "HEAD")
    if not number:
        return "unknown"
    # The results themselves, which are written one after the other, are no change of what is run.
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs")
    return f"{number}+" if changed else number


def _cpu() -> str:
    if _CPUS.exists():
        for line in _CPUS.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str:
    """What git answers; nothing where it is not installed, or this is no checkout."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip()
