"""The figures of the soak: growth is found, a jump that goes away is none."""

import mmap
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from tests.support.usage import MIB, Bound, Sample, growth, marked_processes, shared_memory

BOUNDS = {"memory bytes": Bound(share=0.25, besides=10 * MIB)}


def samples(figures: Sequence[float]) -> list[Sample]:
    return [
        Sample(at=float(at), figures={"memory bytes": figure * MIB})
        for at, figure in enumerate(figures)
    ]


@pytest.mark.parametrize(
    ("figures", "within"),
    [
        ([100] * 30, True),
        ([100 + 0.1 * step for step in range(30)], True),
        ([100 + 3 * step for step in range(30)], False),
        # For a moment only: a fault, and a look at it.
        ([100] * 27 + [500] + [100] * 2, True),
        # Only what is left of it in the end counts.
        ([500] * 15 + [100] * 15, True),
        ([100] * 19 + [136] * 11, False),
        ([100] * 19 + [134] * 11, True),
    ],
)
def test_what_is_more_in_the_last_third_than_in_the_first_is_growth(
    figures: list[float], within: bool
) -> None:
    (found,) = growth(samples(figures), BOUNDS)
    assert found.within == within
    assert ("TOO MUCH" in str(found)) != within


def test_a_few_samples_are_no_ground_for_a_verdict() -> None:
    with pytest.raises(AssertionError, match="8 samples say nothing of growth"):
        growth(samples([100] * 8), BOUNDS)


def test_growth_is_shown_with_its_limit() -> None:
    (found,) = growth(samples([100] * 15 + [110] * 15), BOUNDS)
    assert str(found) == "memory: 100.0 MiB -> 110.0 MiB (at most 135.0 MiB)"


def test_shared_memory_counts_what_is_deleted_but_held_and_each_file_once() -> None:
    since = time.time()
    mine = [psutil.Process()]
    before = shared_memory(mine, since=since)
    path = Path(f"/dev/shm/orchestrator-test-{os.getpid()}")
    with path.open("w+b") as file:
        try:
            # Much larger than what is used of it, as Ray's store is.
            file.truncate(64 * MIB)
            with mmap.mmap(file.fileno(), 64 * MIB) as memory:
                memory[: 2 * MIB] = bytes(2 * MIB)
            # Other tests run beside this one and may hold a semaphore, which is a page of memory.
            assert 2 * MIB <= shared_memory(mine, since=since) - before < 4 * MIB
        finally:
            path.unlink()
        assert shared_memory([], since=since) < 2 * MIB
        assert 2 * MIB <= shared_memory(mine, since=since) - before < 4 * MIB


def test_marked_processes_are_those_with_the_mark() -> None:
    mark = f"{os.getpid()}-{time.time_ns()}"
    command = [sys.executable, "-c", "print(flush=True); input()"]
    environment = {**os.environ, "ORCHESTRATOR_TEST_MARK": mark}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        (found,) = marked_processes("ORCHESTRATOR_TEST_MARK", mark)
        assert found.pid == child.pid
        child.communicate(b"\n")
    assert marked_processes("ORCHESTRATOR_TEST_MARK", mark) == []
