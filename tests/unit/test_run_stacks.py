"""Stacks of processes that hang: real ones, which sleep, keep Python's lock, or are stopped."""

import contextlib
import faulthandler
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
from pydantic import JsonValue

from orchestrator.data.arrivals import Arrivals
from orchestrator.data.feed import begin_early
from orchestrator.run.hang import Verdict
from orchestrator.run.hang_watch import HangWatch, describe_hang
from orchestrator.run.stacks import (
    Examined,
    Frame,
    RankProcess,
    end_here,
    stack_of,
    telling,
    waits_for_data,
)
from orchestrator.train.beat import Beat, beats_folder, read_beats, stack_path
from tests.support.runs import ROOT
from tests.support.training import geometry

ATTEMPT = 4
LIMIT_S = 30.0
USERS = Frame(file="/home/me/task.py", line=3, function="hang")
TORCHS = Frame(file="/x/lib/python3.11/site-packages/torch/a.py", line=1, function="backward")
OURS = Frame(file="/x/orchestrator/train/loop.py", line=2, function="run")
FEEDS = Frame(file="/x/orchestrator/data/arrivals.py", line=2, function="_receive")


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Hanging:
    """A process that hangs."""

    def __init__(self, run_dir: Path, how: str) -> None:
        self.folder = beats_folder(run_dir, ATTEMPT)
        command = [sys.executable, "-m", "tests.support.hanging", str(self.folder), how]
        self.process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": "."})
        eventually(lambda: 1 in read_beats(self.folder))
        self.beat = read_beats(self.folder)[1]

    def as_rank(self, *, birth: float | None = None) -> RankProcess:
        return RankProcess(
            rank=1,
            node="here",
            pid=self.beat.pid,
            birth=self.beat.birth if birth is None else birth,
            thread=self.beat.thread,
            stacks=stack_path(self.folder, 1),
        )

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        status = psutil.Process(self.process.pid).status
        eventually(lambda: status() == psutil.STATUS_STOPPED)

    def wait_until_silent(self) -> None:
        """Until no beat comes any more."""
        last, since = -1, time.monotonic()
        deadline = since + LIMIT_S
        while time.monotonic() - since < 0.5:
            assert time.monotonic() < deadline
            count = read_beats(self.folder)[1].count
            if count != last:
                last, since = count, time.monotonic()
            time.sleep(0.01)


@pytest.fixture
def hanging(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Hanging]:
    found = Hanging(tmp_path, request.param)
    yield found
    found.end()


def in_function(hanging: Hanging, name: str) -> None:
    """Ends a process and checks that its stack has a function."""
    found = end_here([hanging.as_rank()])[1]
    frames = stack_of(found.dump, hanging.beat.thread)
    assert name in [frame.function for frame in frames]
    # The beats' own thread is in the dump, not in this stack.
    assert "beat" not in [frame.function for frame in frames]
    assert hanging.process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("hanging", ["sleep"], indirect=True)
def test_a_sleeping_rank_gives_the_stack_of_the_thread_that_trains(hanging: Hanging) -> None:
    eventually(lambda: read_beats(hanging.folder)[1].count > 3)
    in_function(hanging, "sleep_for_ever")


@pytest.mark.parametrize("hanging", ["lock"], indirect=True)
def test_a_rank_of_which_no_python_runs_gives_its_stack(hanging: Hanging) -> None:
    hanging.wait_until_silent()
    in_function(hanging, "hold_the_lock_for_ever")


@pytest.mark.parametrize("hanging", ["sleep"], indirect=True)
def test_a_stopped_rank_gives_its_stack(hanging: Hanging) -> None:
    eventually(lambda: read_beats(hanging.folder)[1].count > 3)
    hanging.stop()
    in_function(hanging, "sleep_for_ever")


@pytest.mark.parametrize("hanging", ["sleep"], indirect=True)
def test_another_process_under_the_same_number_is_left_alone(hanging: Hanging) -> None:
    found = end_here([hanging.as_rank(birth=hanging.beat.birth - 100)])
    assert found == {1: Examined(status="gone")}
    assert hanging.process.poll() is None


def test_the_watch_names_the_stopped_rank_and_ends_it(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    told: dict[str, JsonValue] = {}

    def tell(event: str, **fields: JsonValue) -> None:
        told.update(fields, event=event)

    left = beats_folder(tmp_path, ATTEMPT - 1)
    left.mkdir(parents=True)
    now = 0.0
    watch = HangWatch(
        tmp_path,
        ATTEMPT,
        limit_s=60.0,
        logs=tmp_path,
        tell=tell,
        end_ranks=end_here,
        clock=lambda: now,
    )
    assert not left.exists()
    hanging = Hanging(tmp_path, "sleep")
    request.addfinalizer(hanging.end)
    hanging.stop()
    # The neighbour waits in a collective, and beats; without a process of its own.
    neighbour = Beat(
        rank=0,
        workers=2,
        node="here",
        pid=2**22 + 1,
        birth=0.0,
        thread=1,
        count=0,
        step=5,
        collectives=1,
        validated=0,
    )
    while watch.reason is None and now < 120:
        now += 3.0
        content = Beat(**{**_fields(neighbour), "count": int(now)}).to_bytes()
        (hanging.folder / "rank-0.json").write_bytes(content)
        watch.check()
    failure = watch.failure(step=2)
    assert failure is not None
    assert failure.kind == "hang"
    assert failure.reason == told["reason"]
    assert "worker 1 was stopped by a signal, in sleep_for_ever" in failure.reason
    assert (told["event"], told["rank"], told["ranks"], told["step"]) == ("hang", 1, [1], 5)
    assert hanging.process.wait() == -signal.SIGKILL
    watch.close()
    assert not hanging.folder.exists()


def _fields(beat: Beat) -> dict[str, object]:
    return {name: getattr(beat, name) for name in Beat.__slots__}


@pytest.mark.parametrize(
    ("verdict", "stacks", "workers", "words"),
    [
        ({"suspects": (1,)}, {1: [TORCHS, USERS, OURS]}, 2, "worker 1 hangs, in hang (/home/me/"),
        ({"suspects": (0, 1)}, {0: [FEEDS], 1: [FEEDS]}, 2, "the stream is stuck, no data came"),
        ({"suspects": (1,)}, {0: [TORCHS], 1: [FEEDS]}, 2, "no data came for worker 1"),
        ({"suspects": (0, 1)}, {0: [TORCHS], 1: [TORCHS]}, 2, "all workers are at the same place"),
        ({"suspects": (0,)}, {0: [OURS]}, 1, "worker 0 hangs, in run"),
        ({"suspects": (1,), "frozen": True}, {}, 2, "worker 1 runs no Python"),
        ({"suspects": (1,), "missing": True}, {}, 2, "worker 1 never began"),
    ],
)
def test_a_hang_is_told_in_one_line(
    verdict: Mapping[str, object],
    stacks: Mapping[int, Sequence[Frame]],
    workers: int,
    words: str,
) -> None:
    found = {rank: Examined(status="sleeping") for rank in stacks}
    judged = Verdict(**{"seconds": 1200.0, "step": 7, **verdict})  # type: ignore[arg-type] # a table
    told = describe_hang(judged, found, stacks, workers=workers)
    assert told.startswith("hang: no progress for 20m after step 7: ")
    assert words in told


def test_a_thread_that_waits_for_a_batch_is_told_by_its_stack(tmp_path: Path) -> None:
    ended = threading.Event()

    def blocks() -> Iterator[pa.Table]:
        ended.wait()
        yield from ()

    cuts = geometry(rows=70, batch=32)
    arrivals = Arrivals(blocks(), cuts, rank=0, workers=1, last_superblock=3)
    # The first batch is fetched in the background; later ones are not.
    waits = (lambda: next(begin_early(blocks()), None), lambda: arrivals.take(0))  # type: ignore[arg-type] # no batch comes
    with ThreadPoolExecutor(len(waits)) as pool:
        threads = []

        def run(wait: Callable[[], object]) -> None:
            threads.append(threading.get_ident())
            with contextlib.suppress(Exception):  # that nothing comes is no matter here
                wait()

        for wait in waits:
            pool.submit(run, wait)
        try:
            eventually(lambda: len(threads) == 2 and all(map(_waits, threads)))
        finally:
            ended.set()


def _waits(thread: int) -> bool:
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return waits_for_data(stack_of(file.read(), thread))


def test_the_innermost_call_of_the_users_code_is_named() -> None:
    assert telling([TORCHS, USERS, OURS]) == USERS
    assert telling([TORCHS, OURS]) == TORCHS
    assert telling([]) is None
    assert waits_for_data([TORCHS, FEEDS, OURS])
    assert not waits_for_data([TORCHS, OURS])
