"""Killed at any file operation, a save, a prune or a setting aside leaves a good checkpoint."""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from orchestrator.checkpoint.manager import CheckpointManager
from orchestrator.checkpoint.policy import EverySteps
from orchestrator.checkpoint.retention import LatestN
from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.errors import CheckpointError

Outcome = TypeVar("Outcome")

AUDITED = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}
PIECES = {"model.bin": [b"wei", b"ghts"], "rank-0.bin": [b"random ", b"state"]}


def write(directory: Path, boundary: Callable[[], None] = lambda: None) -> None:
    for name, pieces in PIECES.items():
        with (directory / name).open("wb", buffering=0) as file:
            for piece in pieces:
                file.write(piece)
                boundary()


def save(root: Path, step: int, *, keep: int, boundary: Callable[[], None] = lambda: None) -> None:
    manager = CheckpointManager(
        CheckpointStore(root),
        save_policy=EverySteps(1),
        retention=LatestN(keep),
        attempt=1,
        fence=lambda: None,
    )
    manager.save(
        lambda directory: write(directory, boundary),
        step=step,
        cursor={"epoch": 0, "step": step},
        metrics={},
        order_fingerprint="f",
        parts={},
        versions={},
    )


def killed_at(number: int, action: Callable[[Callable[[], None]], object]) -> bool:
    """Runs it in a forked process that kills itself before file operation `number`.

    Returns:
        Whether it was killed; otherwise it had fewer operations, and ended.
    """
    child = os.fork()
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, -signal.SIGKILL)
        return status != 0
    left = number
    real_fsync = os.fsync

    def boundary() -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    def fsync(descriptor: int) -> None:
        boundary()
        real_fsync(descriptor)

    try:
        pytest.MonkeyPatch().setattr(os, "fsync", fsync)
        sys.addaudithook(lambda event, _: boundary() if event in AUDITED else None)
        action(boundary)
        os._exit(0)
    finally:
        os._exit(99)


def kill_everywhere(
    root: Path, action: Callable[[Callable[[], None]], object], check: Callable[[], Outcome]
) -> list[Outcome]:
    """Kills the action at each of its file operations, each time on a fresh copy of the root."""
    original = root.with_name("original")
    shutil.copytree(root, original)
    outcomes = []
    for number in range(500):
        shutil.rmtree(root)
        shutil.copytree(original, root)
        killed = killed_at(number, action)
        outcomes.append(check())
        if not killed:
            return outcomes
    raise AssertionError("the action does not end")


def newest_step(root: Path) -> int:
    info, set_aside = CheckpointStore(root).newest_valid()
    assert info is not None
    assert set_aside == []
    for name, pieces in PIECES.items():
        assert (info.path / name).read_bytes() == b"".join(pieces)
    return info.manifest.step


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "checkpoints"
    for step in (1, 2):
        save(root, step, keep=9)
    return root


def test_a_killed_save_leaves_the_previous_or_the_new_checkpoint(root: Path) -> None:
    def check() -> int:
        step = newest_step(root)
        # What was torn is swept away by the next attempt, and that attempt can save.
        CheckpointStore(root).remove_uncommitted(2)
        assert len(list(root.iterdir())) == len(CheckpointStore(root).committed())
        save(root, 4, keep=1)
        assert newest_step(root) == 4
        return step

    outcomes = kill_everywhere(root, lambda at: save(root, 3, keep=1, boundary=at), check)
    # All boundaries before the mark, then all after it, with the deletion of two checkpoints.
    assert outcomes == sorted(outcomes)
    assert outcomes.count(2) > 20
    assert outcomes.count(3) > 10


def test_a_killed_first_save_is_as_if_it_never_was(tmp_path: Path) -> None:
    root = tmp_path / "checkpoints"
    root.mkdir()

    def check() -> int | None:
        info, set_aside = CheckpointStore(root).newest_valid()
        assert set_aside == []
        return info.manifest.step if info else None

    outcomes = kill_everywhere(root, lambda at: save(root, 1, keep=1, boundary=at), check)
    assert set(outcomes) == {None, 1}


def test_killed_while_setting_aside_the_previous_is_found_and_the_damaged_kept(root: Path) -> None:
    damaged = "step-000000002-001"
    flip(root / damaged / "model.bin")

    def check() -> bool:
        info, set_aside = CheckpointStore(root).newest_valid()
        assert info is not None
        assert info.manifest.step == 1
        lies_in = root / "set-aside" / damaged
        assert (lies_in / "model.bin").exists()
        assert "model.bin has SHA-256" in (lies_in / "REASON.txt").read_text()
        return bool(set_aside)

    outcomes = kill_everywhere(root, lambda _: CheckpointStore(root).newest_valid(), check)
    assert set(outcomes) == {True, False}


def test_killed_while_setting_all_aside_nothing_starts_from_scratch(root: Path) -> None:
    for directory in list(root.iterdir()):
        flip(directory / "model.bin")

    def action(_: Callable[[], None]) -> None:
        with pytest.raises(CheckpointError):
            CheckpointStore(root).newest_valid()

    def check() -> int:
        with pytest.raises(CheckpointError, match=r"1-001, step-000000002-001 damaged"):
            CheckpointStore(root).newest_valid()
        return len(list((root / "set-aside").iterdir()))

    outcomes = kill_everywhere(root, action, check)
    assert len(outcomes) > 10
    assert set(outcomes) == {2}
