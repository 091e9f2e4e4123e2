"""Small file systems for tests, where the machine lets the test mount one."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, *, mib: int) -> Iterator[Path]:
    """A file system of so many MiB at a new folder; skips the test where that is barred."""
    folder.mkdir()
    try:
        done = mount("-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder))
    except FileNotFoundError:
        pytest.skip("needs the command mount")
    if done.returncode:
        pytest.skip(f"needs to mount a file system: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def mount(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs mount and returns what came of it."""
    return subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
