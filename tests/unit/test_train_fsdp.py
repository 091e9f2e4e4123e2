"""A sharded model on real process groups: the same steps, and checkpoints in pieces."""

import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from orchestrator.errors import CheckpointError
from orchestrator.spec.training import AdamW, Sgd
from orchestrator.train.shard_reader import ShardReader, flat, read_whole
from orchestrator.train.state import read_parts
from tests.support import fsdp_jobs
from tests.support.fsdp_jobs import train_sharded
from tests.support.ranks import run_ranks
from tests.support.training import (
    ConvTask,
    geometry,
    make_state,
    make_stepper,
    strategy_of,
    train_steps,
)

UNEVEN = geometry(rows=70, batch=32)
STEPS = 7


@pytest.mark.parametrize(("workers", "micro", "clip"), [(2, None, 0.1), (3, 4, None)])
def test_pieces_are_trained_as_the_whole_model_is(
    workers: int, micro: int | None, clip: float | None, tmp_path: Path
) -> None:
    task = ConvTask(norm=False)
    # Unlike AdamW, it tells gradients that are too large.
    spec = Sgd(lr=0.05, momentum=0.9)
    state = make_state(task, spec=spec)
    train_steps(make_stepper(task, state, clip_norm=clip), state, UNEVEN, until=STEPS)
    expected = strategy_of(state).state()
    # With micro-batches of 4 rows, ranks differ in their passes; in a validation, too.
    job = partial(train_sharded, micro=micro, clip=clip, spec=spec, every=3)
    for rank in run_ranks(workers, job, task, UNEVEN, STEPS, folder=tmp_path):
        for name, value in rank["weights"].items():
            np.testing.assert_allclose(value, expected[name].numpy(), atol=1e-5)
        assert rank["rows"] == state.rows
        assert len(rank["scores"]) == 2
        assert rank["largest_share"] < 0.75


def test_a_save_behind_the_training_is_of_its_step_and_changes_nothing(tmp_path: Path) -> None:
    task = ConvTask(width=8, norm=True, dropout=0.2)
    saved = tmp_path / "saved"
    saved.mkdir()
    plain = run_ranks(2, train_sharded, task, UNEVEN, STEPS, folder=tmp_path)
    saving = run_ranks(
        2, partial(train_sharded, save=(4, saved)), task, UNEVEN, STEPS, folder=tmp_path
    )
    # The running means of the others follow the first rank's when a save is made.
    assert [rank["means"] for rank in saving] == [rank["means"] for rank in plain]
    resumed = run_ranks(
        2, partial(train_sharded, start_from=saved), task, UNEVEN, STEPS, folder=tmp_path
    )
    assert [rank["means"] for rank in resumed] == [rank["means"][4:] for rank in saving]
    assert [rank["digest"] for rank in resumed] == [rank["digest"] for rank in saving]
    names = {path.name for path in (saved / "shards").iterdir()}
    assert names == {".metadata", "__0_0.distcp", "__1_0.distcp"}


@pytest.mark.parametrize("workers", [1, 3])
def test_pieces_of_two_ranks_are_read_by_any_number(workers: int, tmp_path: Path) -> None:
    task = ConvTask()
    saved = tmp_path / "saved"
    saved.mkdir()
    (undisturbed, _) = run_ranks(
        2, partial(train_sharded, save=(4, saved)), task, UNEVEN, STEPS, folder=tmp_path
    )
    resumed = run_ranks(
        workers, partial(train_sharded, start_from=saved), task, UNEVEN, STEPS, folder=tmp_path
    )
    for rank in resumed:
        assert rank["rows"] == undisturbed["rows"]
        for name, value in rank["weights"].items():
            np.testing.assert_allclose(value, undisturbed["weights"][name], atol=2e-4)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of two ranks after their only step."""
    folder = tmp_path_factory.mktemp("saved")
    job = partial(train_sharded, save=(1, folder))
    run_ranks(2, job, ConvTask(), UNEVEN, 1, folder=folder)
    return folder


def test_the_whole_weights_are_read_without_a_process_group(saved: Path) -> None:
    parts = read_parts(saved)
    assert set(parts) == {"model", "optimizer"}
    state = make_state(ConvTask(), spec=AdamW(lr=0.01))
    train_steps(make_stepper(ConvTask(), state), state, UNEVEN, until=1)
    for name, value in strategy_of(state).state().items():
        torch.testing.assert_close(parts["model"][name], value, atol=2e-4, rtol=0)


def test_another_models_pieces_are_refused(saved: Path, tmp_path: Path) -> None:
    for told in run_ranks(2, fsdp_jobs.read_only, ConvTask(width=5), saved, folder=tmp_path):
        assert told.startswith("CheckpointError: ")
        assert "does not fit this code" in told
        assert "wanted [5" in told
    for told in run_ranks(2, fsdp_jobs.read_only, ConvTask(norm=True), saved, folder=tmp_path):
        assert "it lacks model." in told


def test_a_sharded_state_is_not_read_as_a_whole_one_nor_the_other_way(
    saved: Path, tmp_path: Path
) -> None:
    state = make_state(ConvTask())
    with pytest.raises(CheckpointError, match="strategy: fsdp, and this is ddp"):
        state.read(saved)
    state.write(tmp_path)
    for told in run_ranks(2, fsdp_jobs.read_only, ConvTask(), tmp_path, folder=tmp_path):
        assert "strategy: ddp, and this is fsdp" in told


def test_every_rank_is_told_when_one_cannot_write(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("no folder")
    for told in run_ranks(2, fsdp_jobs.fail_to_write, ConvTask(), blocked, folder=tmp_path):
        assert told.startswith("CheckpointError: worker ")
        assert "cannot write" in told
        assert str(blocked) in told


def test_ranks_that_follow_go_on_when_nothing_is_written(tmp_path: Path) -> None:
    assert run_ranks(3, fsdp_jobs.abandon, ConvTask(), folder=tmp_path) == [True] * 3


def test_a_spoilt_piece_is_known_to_all_ranks(tmp_path: Path) -> None:
    (first, *others) = run_ranks(3, fsdp_jobs.spoil_one_piece, ConvTask(), folder=tmp_path)
    assert first is not None
    assert first.startswith("the weight ")
    assert others == [first] * 2


def test_blocks_that_share_a_weight_keep_sharing_it(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()
    for first, second, again in run_ranks(2, fsdp_jobs.train_tied, saved, folder=tmp_path):
        assert first != second
        assert again == second


class Evil:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def test_code_in_the_directory_of_the_pieces_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (tmp_path / ".metadata").write_bytes(pickle.dumps(Evil(mark)))
    with pytest.raises(CheckpointError, match="is no directory of tensors"):
        read_whole(tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps({"a": 1})])
def test_a_directory_that_is_none_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / ".metadata").write_bytes(content)
    with pytest.raises(CheckpointError, match="is no directory of tensors"):
        ShardReader(tmp_path).read_metadata()


def test_names_are_flat_with_dots() -> None:
    assert flat({"a": {"b": 1, "c": {}}, "d": 2}) == {"a.b": 1, "a.c": {}, "d": 2}
