"""A driver is started again after a death, and only then; nothing of it is left. Ray is not used.

The supervisor is a process of its own here, and its "driver" a few lines of Python.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from orchestrator.checkpoint.attempts import Attempt
from orchestrator.jsonl import read_json_lines
from orchestrator.run.budgets import read_account
from orchestrator.run.directory import RunDirectory

ROOT = Path(__file__).parents[2]
LIMIT_S = 30.0
SUPERVISOR = """\
import signal
import sys
from pathlib import Path
from orchestrator.errors import OrchestratorError
from orchestrator.run.supervisor import supervise
folder, budget, script = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
# A shell starts what it puts in the background with this one ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
def command(start):
    return [sys.executable, "-c", script, str(folder), str(start)]
try:
    code = supervise(command, folder / "run", budget=budget, say=print)
except OrchestratorError as error:
    print(error)
    code = error.exit_code
print("loaded:", *{"ray", "torch"} & set(sys.modules))
sys.exit(code)
"""
# What every driver does first: it leaves its number, and a child that would outlive it.
BEGIN = """\
import os, signal, subprocess, sys, time
from pathlib import Path
folder, start = Path(sys.argv[1]), int(sys.argv[2])
child = subprocess.Popen(["sleep", "600"])
def note(name, text):
    (folder / "t").write_text(text); (folder / "t").rename(folder / name)
note(f"pids-{start}", f"{os.getpid()} {child.pid}")
"""


class Supervised:
    """A supervisor with a driver of the given lines."""

    def __init__(self, folder: Path, lines: str, *, budget: int = 2) -> None:
        self.folder = folder
        self.out = folder / "out"
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SUPERVISOR, str(folder), str(budget), BEGIN + lines],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=out,
                stderr=out,
            )

    def finish(self) -> int:
        return self.process.wait(timeout=LIMIT_S)

    def pids(self, start: int = 0) -> list[int]:
        """The numbers of the n-th driver and of its child, once they are there."""
        path = self.folder / f"pids-{start}"
        wait_until(path.exists)
        return [int(pid) for pid in path.read_text().split()]

    def starts(self) -> int:
        return len(list(self.folder.glob("pids-*")))

    def events(self) -> list[dict[str, object]]:
        return list(read_json_lines(self.folder / "run" / "events.jsonl"))

    def assert_nothing_left(self) -> None:
        started = [pid for start in range(self.starts()) for pid in self.pids(start)]
        wait_until(lambda: not any(map(runs, started)))


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    made: list[Supervised] = []

    def make(lines: str, **options: int) -> Supervised:
        made.append(Supervised(tmp_path, lines, **options))
        return made[-1]

    yield make
    for one in made:
        one.process.kill()
        one.process.wait()


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


Make = Callable[..., Supervised]


def test_a_killed_driver_is_started_again_until_it_ends(supervised: Make) -> None:
    one = supervised("os.kill(os.getpid(), signal.SIGKILL) if start < 1 else sys.exit(0)")
    assert one.finish() == 0
    assert one.starts() == 2
    assert "signal 9 (SIGKILL); it is started again (1 of 2" in one.out.read_text()
    # Neither ray nor torch.
    assert one.out.read_text().endswith("loaded:\n")
    (died,) = one.events()
    assert (died["event"], died["class"], died["steps_lost"]) == ("driver-died", "driver", 0)
    one.assert_nothing_left()


@pytest.mark.parametrize("code", [0, 1, 2, 5, 130])
def test_an_end_in_good_order_is_the_end(supervised: Make, code: int) -> None:
    one = supervised(f"sys.exit({code})")
    assert one.finish() == code
    assert (one.starts(), one.events()) == (1, [])
    one.assert_nothing_left()


def test_a_driver_that_dies_again_and_again_is_given_up_and_the_count_is_kept(
    supervised: Make, tmp_path: Path
) -> None:
    crash = "os.abort()"
    one = supervised(crash, budget=2)
    assert one.finish() == 1
    assert one.starts() == 3
    assert "failure.restart_driver (2) is used up: the driver died: by signal 6 (SIGABRT)" in (
        one.out.read_text()
    )
    assert read_account(tmp_path / "run").spent == {"driver": 3}
    words = [event["event"] for event in one.events()]
    assert words == ["driver-died", "driver-died", "driver-died", "failed"]
    one.assert_nothing_left()
    # The same command has one try, and no budget of its own.
    for path in tmp_path.glob("pids-*"):
        path.unlink()
    again = supervised(crash, budget=2)
    assert again.finish() == 1
    assert again.starts() == 1
    assert read_account(tmp_path / "run").spent == {"driver": 4}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_passed_on_once_and_the_driver_decides_how_it_ends(
    supervised: Make, number: signal.Signals
) -> None:
    one = supervised(
        f"""
caught = []
signal.signal({number:d}, lambda *_: caught.append(1))
note("ready", "")
while not caught:
    signal.sigtimedwait([], 0.01)
sys.exit(7)
"""
    )
    wait_until((one.folder / "ready").exists)
    one.process.send_signal(number)
    assert one.finish() == 7
    assert one.starts() == 1
    one.assert_nothing_left()


def test_a_driver_that_dies_of_the_users_signal_is_not_started_again(supervised: Make) -> None:
    one = supervised("signal.signal(signal.SIGTERM, signal.SIG_DFL); time.sleep(600)")
    one.pids()
    one.process.terminate()
    assert one.finish() == 128 + signal.SIGTERM
    assert (one.starts(), one.events()) == (1, [])
    one.assert_nothing_left()


def test_the_driver_is_out_of_reach_of_the_terminals_own_signals(supervised: Make) -> None:
    one = supervised("time.sleep(600)")
    driver, _ = one.pids()
    assert os.getpgid(driver) == driver != os.getpgid(one.process.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_the_driver_dies_with_its_supervisor(supervised: Make) -> None:
    one = supervised("time.sleep(600)")
    driver, child = one.pids()
    one.process.kill()
    wait_until(lambda: not runs(driver))
    # What the driver has started is ended by its guard, which these few lines do not have.
    os.kill(child, signal.SIGKILL)


def test_an_event_says_what_the_death_of_a_driver_has_cost(
    supervised: Make, tmp_path: Path
) -> None:
    directory = RunDirectory(path=tmp_path / "run")
    directory.attempts.begin(
        Attempt(
            number=1,
            parent=None,
            step=0,
            checkpoint=None,
            checkpoint_digest=None,
            workers=1,
            driver=1,
            reason="started",
            host="here",
            pid=1,
            started_at=time.time() - 60,
        )
    )
    started = {"time": time.time(), "event": "attempt-started", "attempt": 1}
    directory.events.write_text(json.dumps(started) + "\n")
    record = {"time": time.time(), "kind": "train", "attempt": 1, "step": 17}
    directory.metrics.write_text(json.dumps(record) + "\n")
    one = supervised("os.kill(os.getpid(), signal.SIGKILL) if start < 2 else sys.exit(0)")
    assert one.finish() == 0
    _, first, second = one.events()
    assert (first["attempt"], first["steps_lost"]) == (1, 17)
    assert float(str(first["seconds_lost"])) >= 60
    # It had begun nothing, and what the first has cost is said once.
    assert (second["attempt"], second["steps_lost"], second["seconds_lost"]) == (None, 0, 0)
