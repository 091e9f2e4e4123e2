"""Real process groups: the same steps for any number of ranks, bit for bit after a restart."""

from functools import partial
from pathlib import Path

import pytest

from tests.support import rank_jobs
from tests.support.rank_jobs import train
from tests.support.ranks import run_ranks
from tests.support.training import ConvTask, geometry

# 32 lanes for 3 ranks are 10, 11 and 11; of an epoch's last 6 rows the first rank has all.
UNEVEN = geometry(rows=70, batch=32)
STEPS = 7  # two epochs and a step
LONG = 50  # what is promised to agree for another number of workers


@pytest.mark.parametrize(
    ("workers", "micro", "clip"),
    [(2, None, None), pytest.param(3, None, 0.5, marks=pytest.mark.slow), (3, 4, 1.0)],
)
def test_any_number_of_ranks_trains_the_same_model(
    workers: int, micro: int | None, clip: float | None, tmp_path: Path
) -> None:
    task = ConvTask()
    alone = train(task, UNEVEN, LONG, clip=clip)
    ranks = run_ranks(
        workers, partial(train, micro=micro, clip=clip), task, UNEVEN, LONG, folder=tmp_path
    )
    assert alone["means"][-1]["loss"] < 0.7 * alone["means"][0]["loss"]
    for rank in ranks:
        assert len(rank["means"]) == LONG
        for here, there in zip(rank["means"], alone["means"], strict=True):
            assert here["loss"] == pytest.approx(there["loss"], rel=1e-5)
        assert rank["rows"] == alone["rows"] == 16 * 70 + 64
    assert len({rank["digest"] for rank in ranks}) == 1


def test_a_restart_in_the_middle_changes_no_bit(tmp_path: Path) -> None:
    # Dropout and batch norm too; and 2.6 MB of gradients, which DDP sends in several buckets.
    task = ConvTask(width=24, norm=True, dropout=0.2)
    straight, restarted = tmp_path / "straight", tmp_path / "restarted"
    straight.mkdir()
    restarted.mkdir()
    undisturbed = run_ranks(
        3, partial(train, save=(4, straight), every=2), task, UNEVEN, STEPS, folder=tmp_path
    )
    run_ranks(3, partial(train, save=(4, restarted)), task, UNEVEN, 4, folder=tmp_path)
    resumed = run_ranks(
        3, partial(train, start_from=restarted, every=2), task, UNEVEN, STEPS, folder=tmp_path
    )
    assert {rank["rows"] for rank in resumed} == {2 * 70 + 32}
    assert [rank["means"] for rank in resumed] == [rank["means"][4:] for rank in undisturbed]
    assert [rank["scores"] for rank in resumed] == [rank["scores"][2:] for rank in undisturbed]
    assert [rank["digest"] for rank in resumed] == [rank["digest"] for rank in undisturbed]


def test_settling_the_exchange_of_gradients_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    for rank in run_ranks(2, rank_jobs.settle, folder=tmp_path):
        # Nor is the user's forward pass called: it may not be meant for what we would give it.
        assert rank == {"unchanged": True, "gradients": 0, "calls": []}


def test_the_first_rank_shares_its_running_means_before_a_validation(tmp_path: Path) -> None:
    assert run_ranks(3, rank_jobs.share_buffers, folder=tmp_path) == [[5.0, 5.0, 5.0]] * 3


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow), 3])
def test_a_validation_counts_each_row_once(workers: int, tmp_path: Path) -> None:
    alone = rank_jobs.evaluate(ConvTask(), UNEVEN, 2)
    for rank in run_ranks(workers, rank_jobs.evaluate, ConvTask(), UNEVEN, 2, folder=tmp_path):
        for here, there in zip(rank, alone, strict=True):
            assert here == pytest.approx(there)
            assert here["rows"] == 70
            assert here["id"] == pytest.approx(34.5)


@pytest.mark.parametrize("workers", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_a_summary_of_all_rows_is_the_same_float_for_any_number_of_ranks(
    workers: int, tmp_path: Path
) -> None:
    alone = rank_jobs.summarise(UNEVEN, 2)
    assert [scores["rows"] for scores in alone] == [70, 70]
    assert set(alone[0]) == {"turns", "folded", "even", "rows"}
    assert alone[0]["even"] == 0.5
    for rank in run_ranks(workers, rank_jobs.summarise, UNEVEN, 2, folder=tmp_path):
        assert rank == alone


def test_a_rank_that_has_not_come_to_a_collective_has_begun_fewer(tmp_path: Path) -> None:
    for before, begun in run_ranks(2, rank_jobs.count_collectives, folder=tmp_path):
        assert begun == before + 1
