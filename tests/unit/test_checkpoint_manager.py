"""The manager saves when due, prunes only behind a verified checkpoint, and survives failures."""

import os
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.checkpoint.manager import CheckpointManager, PruneResult
from orchestrator.checkpoint.manifest import Manifest
from orchestrator.checkpoint.policy import EverySeconds, EverySteps, SavePolicy
from orchestrator.checkpoint.retention import AnyOfRetention, BestN, LatestN, RetentionPolicy
from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.errors import CheckpointError

EVERY_STEP, KEEP_TWO = EverySteps(1), LatestN(2)


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Fence:
    """Lets an attempt through until it is superseded."""

    def __init__(self) -> None:
        self.superseded = False

    def __call__(self) -> None:
        if self.superseded:
            raise CheckpointError("superseded")


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


def manage(
    store: CheckpointStore,
    *,
    save_policy: SavePolicy = EVERY_STEP,
    retention: RetentionPolicy = KEEP_TWO,
    fence: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = lambda: 0.0,
) -> CheckpointManager:
    return CheckpointManager(
        store, save_policy=save_policy, retention=retention, attempt=1, fence=fence, clock=clock
    )


def write(directory: Path) -> None:
    (directory / "model.bin").write_bytes(b"weights")


def save(
    manager: CheckpointManager,
    step: int,
    write: Callable[[Path], None] = write,
    **metrics: float,
) -> Manifest:
    return manager.save(
        write,
        step=step,
        cursor={"epoch": 0, "step": step},
        metrics=metrics,
        order_fingerprint="f",
        parts={"seed": "1"},
        versions={"torch": "2"},
    )


def steps(store: CheckpointStore) -> list[int]:
    return [info.manifest.step for info in store.committed()]


def due(manager: CheckpointManager, step: int) -> bool:
    return manager.due(step=step, epoch_finished=False, epochs_finished=0, last=False)


def test_a_save_is_due_some_time_after_the_last_one_began(store: CheckpointStore) -> None:
    clock = Clock()
    manager = manage(store, save_policy=EverySeconds(10.0), clock=clock)

    def slow(directory: Path) -> None:
        write(directory)
        clock.now += 6.0

    assert not due(manager, 1)
    clock.now += 10.0
    assert due(manager, 1)
    save(manager, 1, slow)
    assert not due(manager, 2)
    clock.now += 4.0
    assert due(manager, 2)


def test_while_a_save_is_at_work_a_time_that_is_up_waits_and_a_step_does_not(
    store: CheckpointStore,
) -> None:
    clock = Clock()
    timed = manage(store, save_policy=EverySeconds(10.0), clock=clock)
    counted = manage(store, save_policy=EverySteps(2), clock=clock)
    clock.now += 20.0

    def due_in_flight(manager: CheckpointManager) -> bool:
        return manager.due(
            step=2, epoch_finished=False, epochs_finished=0, last=False, in_flight=True
        )

    assert due(timed, 2)
    assert not due_in_flight(timed)
    assert due_in_flight(counted)


def test_one_step_is_not_saved_twice(store: CheckpointStore) -> None:
    manager = manage(store)
    assert due(manager, 1)
    save(manager, 1)
    assert not manager.due(step=1, epoch_finished=True, epochs_finished=1, last=True)
    assert due(manager, 2)


def test_a_save_is_committed_as_described(store: CheckpointStore) -> None:
    manifest = save(manage(store), 3, loss=0.5)
    assert (manifest.step, manifest.attempt, manifest.metrics) == (3, 1, {"loss": 0.5})
    assert manifest.cursor == {"epoch": 0, "step": 3}
    (info,) = store.committed()
    assert info.manifest == manifest


def test_retention_is_applied_after_each_save(store: CheckpointStore) -> None:
    manager = manage(store, retention=AnyOfRetention((LatestN(2), BestN("loss"))))
    for step, loss in enumerate([3.0, 1.0, float("nan"), 2.0, 5.0, 6.0], start=1):
        save(manager, step, loss=loss)
    assert steps(store) == [6, 5, 2]


def test_nothing_is_deleted_when_the_newest_does_not_verify(
    store: CheckpointStore, root: Path
) -> None:
    keep_all, keep_one = manage(store, retention=LatestN(9)), manage(store, retention=LatestN(1))
    for step in (1, 2):
        save(keep_all, step)
    latest = root / "step-000000002-001"
    (latest / "model.bin").write_bytes(b"WEIGHTS")
    result = keep_one.prune()
    assert result.deleted == ()
    assert "model.bin has SHA-256" in result.failed[latest.name]
    assert steps(store) == [2, 1]


def test_a_superseded_attempt_deletes_nothing(store: CheckpointStore) -> None:
    fence = Fence()
    for step in (1, 2):
        save(manage(store, retention=LatestN(9)), step)
    fence.superseded = True
    with pytest.raises(CheckpointError, match="superseded"):
        manage(store, retention=LatestN(1), fence=fence).prune()
    with pytest.raises(CheckpointError, match="superseded"):
        save(manage(store, retention=LatestN(1), fence=fence), 3)
    assert steps(store) == [2, 1]


def test_a_failed_deletion_is_reported_and_not_fatal(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1, 2, 3):
        save(manage(store, retention=LatestN(9)), step)
    manager = manage(store, retention=LatestN(1))
    real_rmtree = shutil.rmtree

    def rmtree(path: Path) -> None:
        if "000001" in path.name:
            raise PermissionError(13, "Permission denied", str(path))
        real_rmtree(path)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    result = manager.prune()
    assert result.deleted == ("step-000000002-001",)
    assert "permission denied" in result.failed["step-000000001-001"]
    assert "permission denied" in caplog.text
    assert steps(store) == [3]
    assert manager.prune() == PruneResult(deleted=(), failed={})


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_earlier_checkpoint_and_no_stump(
    store: CheckpointStore, root: Path, error: BaseException
) -> None:
    manager = manage(store)
    save(manager, 1)

    def failing(directory: Path) -> None:
        write(directory)
        raise error

    with pytest.raises(type(error)):
        save(manager, 2, failing)
    assert [path.name for path in root.iterdir()] == ["step-000000001-001"]
    assert due(manager, 2)


def test_a_stump_that_cannot_be_deleted_does_not_hide_the_failure(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def rmtree(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    def failing(directory: Path) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    with pytest.raises(RuntimeError, match="out of memory"):
        save(manage(store), 1, failing)
    assert "after a failed save: cannot delete" in caplog.text


def in_a_child(action: Callable[[], None]) -> int:
    """Runs it in a forked process and returns the exit status, negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            action()
            os._exit(0)
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_file_size_limit_fails_the_save_by_name_and_keeps_the_earlier_one(
    store: CheckpointStore, root: Path
) -> None:
    save(manage(store), 1)

    def big(directory: Path) -> None:
        (directory / "model.bin").write_bytes(bytes(100_000))

    def action() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        with pytest.raises(CheckpointError, match=r"cannot write .*2-001: .*limit on file sizes"):
            save(manage(store), 2, big)

    assert in_a_child(action) == 0
    assert [path.name for path in root.iterdir()] == ["step-000000001-001"]
    assert store.newest_valid()[0] == store.committed()[0]


def test_a_full_disk_fails_the_save_by_name(store: CheckpointStore) -> None:
    def full(directory: Path) -> None:
        with Path("/dev/full").open("wb") as file:
            file.write(b"weights")

    with pytest.raises(CheckpointError, match=r"cannot write .*1-001: the disk is full"):
        save(manage(store), 1, full)
