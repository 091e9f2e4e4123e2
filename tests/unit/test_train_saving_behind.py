"""A save holds what its step left, whatever the training does while it is written."""

import errno
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from orchestrator.checkpoint.files import storage_errors
from orchestrator.checkpoint.manifest import Manifest
from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.errors import CheckpointError
from orchestrator.jsonl import read_json_lines
from orchestrator.train.recorder import Recorder
from orchestrator.train.saving import Saver
from orchestrator.train.state import STATE_FILE, TrainState
from tests.support.training import ConvTask, digest, make_plan, make_state, strategy_of

LIMIT_S = 30.0


class SlowStore(CheckpointStore):
    """Storage that takes nothing before the gate is open, and notes what it is asked for."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.gate = threading.Event()
        self.asked: list[tuple[str, int]] = []

    def stage(self, step: int, attempt: int) -> Path:
        self.asked.append(("stage", step))
        assert self.gate.wait(LIMIT_S)
        return super().stage(step, attempt)

    def commit(self, directory: Path, manifest: Manifest, *, fence: Callable[[], None]) -> Manifest:
        committed = super().commit(directory, manifest, fence=fence)
        self.asked.append(("committed", manifest.step))
        return committed


class FullStore(CheckpointStore):
    """Storage that has no room for a checkpoint after its first one."""

    def commit(self, directory: Path, manifest: Manifest, *, fence: Callable[[], None]) -> Manifest:
        with storage_errors("commit", directory):
            if self.committed():
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().commit(directory, manifest, fence=fence)


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path, attempt=1)
    yield recorder
    recorder.close()


@pytest.fixture
def slow(tmp_path: Path) -> SlowStore:
    return SlowStore(tmp_path / "checkpoints")


def saver_on(
    store: CheckpointStore, folder: Path, recorder: Recorder, **checkpoint: object
) -> Saver:
    plan = make_plan(folder, checkpoint={"keep_latest": 100, **checkpoint})
    return Saver(plan, folder, attempt=1, recorder=recorder, store=store)


def fill(state: TrainState, value: float) -> str:
    """Sets all weights, as a step would; returns the digest of the state that it leaves."""
    with torch.no_grad():
        for weight in strategy_of(state).model.parameters():
            weight.fill_(value)
    return digest(strategy_of(state).state())


def saved_steps(store: CheckpointStore) -> list[int]:
    return sorted(info.manifest.step for info in store.committed())


def test_what_the_training_does_while_it_is_written_is_not_in_it(
    tmp_path: Path, recorder: Recorder, slow: SlowStore
) -> None:
    saver, state = saver_on(slow, tmp_path, recorder), make_state(ConvTask())
    state.step, state.rows = 3, 30
    wanted = fill(state, 0.5)
    assert saver.save(state, metrics={})
    assert slow.committed() == []
    state.step, state.rows = 4, 40
    fill(state, 0.25)
    slow.gate.set()
    saver.wait()
    (info,) = slow.committed()
    assert (info.manifest.step, info.manifest.cursor) == (3, {"epoch": 0, "step": 3})
    loaded = make_state(ConvTask())
    loaded.read(info.path)
    assert (loaded.step, loaded.rows) == (3, 30)
    assert digest(strategy_of(loaded).state()) == wanted


def test_of_saves_that_follow_each_other_each_has_its_own_step(
    tmp_path: Path, recorder: Recorder, slow: SlowStore
) -> None:
    # All go through the same memory.
    saver, state = saver_on(slow, tmp_path, recorder), make_state(ConvTask())
    slow.gate.set()
    wanted = {}
    for step in (1, 2, 3):
        state.step = step
        wanted[step] = fill(state, step / 8)
        saver.save(state, metrics={})
    saver.wait()
    assert slow.asked == [(what, step) for step in (1, 2, 3) for what in ("stage", "committed")]
    for info in slow.committed():
        loaded = make_state(ConvTask())
        loaded.read(info.path)
        assert digest(strategy_of(loaded).state()) == wanted[info.manifest.step]


def test_a_time_that_is_up_waits_for_the_save_at_work(
    tmp_path: Path, recorder: Recorder, slow: SlowStore
) -> None:
    # Up at once, each time.
    saver = saver_on(slow, tmp_path, recorder, every="0.000001s")
    state = make_state(ConvTask())
    state.step = 1
    saver.after_step(state, epoch_finished=False, metrics={})
    state.step = 2
    assert not saver.overdue(2)
    saver.after_step(state, epoch_finished=False, metrics={})
    slow.gate.set()
    saver.wait()
    state.step = 3
    assert saver.overdue(3)
    saver.after_step(state, epoch_finished=False, metrics={})
    saver.wait()
    assert saved_steps(slow) == [1, 3]


def test_a_best_one_that_is_not_committed_yet_has_to_be_beaten(
    tmp_path: Path, recorder: Recorder, slow: SlowStore
) -> None:
    best = {"metric": "accuracy", "mode": "max"}
    saver, state = saver_on(slow, tmp_path, recorder, best=best), make_state(ConvTask())
    for step, accuracy in ((1, 0.9), (2, 0.8), (3, float("nan"))):
        state.step = step
        saver.after_step(state, epoch_finished=False, metrics={"accuracy": accuracy})
    assert slow.committed() == []
    slow.gate.set()
    saver.wait()
    assert saved_steps(slow) == [1]


def test_a_full_disk_is_told_at_the_next_step_and_leaves_the_one_before(
    tmp_path: Path, recorder: Recorder
) -> None:
    store = FullStore(tmp_path / "checkpoints")
    saver, state = saver_on(store, tmp_path, recorder), make_state(ConvTask())
    state.step = 1
    saver.save(state, metrics={})
    saver.wait()
    state.step = 2
    assert saver.save(state, metrics={})
    state.step = 3
    with pytest.raises(CheckpointError, match=r"step-000000002-001: the disk is full") as raised:
        saver.save(state, metrics={})
    assert isinstance(raised.value.__cause__, OSError)
    assert saved_steps(store) == [1]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000000001-001"]
    events = read_json_lines(tmp_path / "events.jsonl")
    assert [event["step"] for event in events] == [1]


def test_a_file_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as raised:
        make_state(ConvTask()).write(tmp_path)
    assert raised.value.errno == errno.ENOSPC
