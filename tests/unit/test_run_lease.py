"""A run has one driver at a time, wherever the other one is."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import JobFailedError
from orchestrator.run.holder import LEASE_FILE, TERM_S, Here, Holder, parse_lease, this_process
from orchestrator.run.lease import Lease, hold_lease, take_lease

# The processes of the machine "here", by number, and when each began.
BORN = {1: 10.0, 2: 20.0}
HERE = Here(identity="here", host="here", pid=1, birth_of=BORN.get)
FIRST = Holder(
    token="first",
    host="there",
    identity="there",
    pid=2,
    birth=20.0,
    started_at=1e9,
    term_s=TERM_S,
)
BESIDE = replace(FIRST, host="here", identity="here")


class Waiter:
    """Time that passes only where somebody waits; `then` happens after so many seconds."""

    def __init__(self, *, after_s: float = 0.0, then: Callable[[], object] | None = None) -> None:
        self.now = 500.0
        self.said: list[str] = []
        self._due = self.now + after_s
        self._then = then

    def wait(self, seconds: float) -> None:
        self.now += seconds
        if self._then is not None and self.now >= self._due:
            self._then()
            self._then = None

    def take(self, run_dir: Path) -> Lease:
        return take_lease(
            run_dir, say=self.said.append, here=HERE, clock=lambda: self.now, wait=self.wait
        )


def write(run_dir: Path, holder: Holder) -> None:
    (run_dir / LEASE_FILE).write_bytes(holder.to_bytes())


def holder_of(run_dir: Path) -> Holder:
    found = parse_lease((run_dir / LEASE_FILE).read_bytes())
    assert found is not None
    return found


@pytest.mark.parametrize(
    "left",
    [
        pytest.param(None, id="nobody"),
        pytest.param(replace(BESIDE, pid=3), id="a dead process of this machine"),
        pytest.param(replace(BESIDE, birth=11.0), id="its number belongs to another one by now"),
    ],
)
def test_a_run_without_a_live_driver_is_taken_at_once(tmp_path: Path, left: Holder | None) -> None:
    if left is not None:
        write(tmp_path, left)
    waiter = Waiter()
    waiter.take(tmp_path)
    assert (waiter.now, waiter.said) == (500.0, [])
    assert (holder_of(tmp_path).pid, holder_of(tmp_path).identity) == (1, "here")


def test_a_live_driver_on_this_machine_is_named_at_once(tmp_path: Path) -> None:
    write(tmp_path, BESIDE)
    waiter = Waiter()
    with pytest.raises(JobFailedError, match="already, by process 2 on here since 2001-") as caught:
        waiter.take(tmp_path)
    assert "--name" in str(caught.value.hint)
    assert waiter.now == 500.0
    assert holder_of(tmp_path) == BESIDE


@pytest.mark.parametrize(
    ("left", "term_s"),
    [
        pytest.param(FIRST.to_bytes(), TERM_S, id="a process of another machine"),
        pytest.param(replace(FIRST, term_s=4.0).to_bytes(), 4.0, id="with a short term"),
        pytest.param(replace(FIRST, term_s=1e9).to_bytes(), TERM_S, id="with an absurd term"),
        pytest.param(b"{", TERM_S, id="damaged"),
    ],
)
def test_a_lease_that_nobody_renews_is_taken_after_its_term(
    tmp_path: Path, left: bytes, term_s: float
) -> None:
    (tmp_path / LEASE_FILE).write_bytes(left)
    waiter = Waiter()
    waiter.take(tmp_path)
    assert term_s <= waiter.now - 500.0 <= term_s + 1
    assert holder_of(tmp_path).pid == 1
    (said,) = waiter.said
    assert said.startswith(f"waiting up to {term_s:g}s")
    assert ("process 2 on there" in said) == left.startswith(b"{\n")


def test_a_lease_that_is_renewed_while_we_wait_is_refused(tmp_path: Path) -> None:
    write(tmp_path, FIRST)
    renewed = replace(FIRST, renewals=7)
    waiter = Waiter(after_s=5.0, then=lambda: write(tmp_path, renewed))
    with pytest.raises(JobFailedError, match="already, by process 2 on there"):
        waiter.take(tmp_path)
    assert waiter.now - 500.0 <= 6.0
    assert holder_of(tmp_path) == renewed


def test_a_lease_that_is_released_while_we_wait_is_taken(tmp_path: Path) -> None:
    write(tmp_path, FIRST)
    waiter = Waiter(after_s=5.0, then=(tmp_path / LEASE_FILE).unlink)
    waiter.take(tmp_path)
    assert waiter.now - 500.0 <= 6.0


def test_renewing_changes_the_file_and_releasing_removes_it(tmp_path: Path) -> None:
    lease = Waiter().take(tmp_path)
    before = holder_of(tmp_path)
    lease.renew()
    assert holder_of(tmp_path) == replace(before, renewals=1)
    lease.check()
    lease.release()
    assert not (tmp_path / LEASE_FILE).exists()


@pytest.mark.parametrize("left", [FIRST.to_bytes(), None])
def test_a_lease_that_somebody_else_has_taken_is_lost_and_left_to_them(
    tmp_path: Path, left: bytes | None
) -> None:
    lease = Waiter().take(tmp_path)
    (tmp_path / LEASE_FILE).unlink()
    if left is not None:
        (tmp_path / LEASE_FILE).write_bytes(left)
    lease.renew()
    assert lease.lost
    with pytest.raises(JobFailedError, match="taken over by another driver"):
        lease.check()
    lease.renew()
    lease.release()
    assert (tmp_path / LEASE_FILE).exists() == (left is not None)


def test_a_lease_moves_with_its_directory(tmp_path: Path) -> None:
    run_dir, target = tmp_path / "run", tmp_path / "run.old-001"
    run_dir.mkdir()
    lease = Waiter().take(run_dir)
    lease.move(target)
    lease.renew()
    assert holder_of(target).renewals == 1
    # Somebody else may have begun in its old place.
    run_dir.mkdir()
    Waiter().take(run_dir)
    lease.release()
    assert not (target / LEASE_FILE).exists()
    assert (run_dir / LEASE_FILE).exists()


def test_a_directory_that_is_no_longer_there_is_a_lost_run_and_no_error_at_the_end(
    tmp_path: Path,
) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    lease = Waiter().take(run_dir)
    run_dir.rename(tmp_path / "elsewhere")
    run_dir.mkdir()
    lease.renew()
    assert lease.lost
    (run_dir / "driver.lock").unlink()
    run_dir.rmdir()
    lease.release()


def test_processes_are_told_apart_by_number_and_birth() -> None:
    here = this_process()
    mine = here.new_holder()
    assert here.knows(mine)
    assert here.sees(mine)
    assert not here.sees(replace(mine, birth=mine.birth - 60))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    # Nobody has asked for its exit code: a process that has ended, but still has a number.
    try:
        while here.birth_of(ended.pid) is not None:
            pass
    finally:
        ended.wait()
    assert not here.sees(replace(mine, pid=ended.pid))


def test_a_lease_is_renewed_for_as_long_as_it_is_held(tmp_path: Path) -> None:
    with hold_lease(tmp_path, say=print, renew_every_s=0.001):
        while holder_of(tmp_path).renewals < 3:
            pass
    assert not (tmp_path / LEASE_FILE).exists()


HOLD = """
import sys, time
from pathlib import Path
from orchestrator.run.lease import hold_lease
with hold_lease(Path(sys.argv[1]), say=print):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_driver_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        refused = pytest.raises(JobFailedError, match=f"already, by process {first.pid} on ")
        with refused, hold_lease(tmp_path, say=said.append):
            pass
        first.kill()
        first.wait()
    # However it ended: nothing has to be tidied up by hand, and nothing is waited for.
    with hold_lease(tmp_path, say=said.append) as lease:
        assert not lease.lost
        assert json.loads((tmp_path / LEASE_FILE).read_bytes())["pid"] != first.pid
    assert said == []
    assert [path.name for path in tmp_path.iterdir()] == ["driver.lock"]
