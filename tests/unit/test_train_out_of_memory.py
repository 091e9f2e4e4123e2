"""A step for which memory does not suffice on one rank is tried again in smaller pieces by all."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from orchestrator.errors import DeviceMemoryError
from orchestrator.jsonl import read_json_lines
from tests.support.ranks import Raised, run_ranks, try_ranks
from tests.support.scarce import ScarceTask, Where, train_scarce
from tests.support.training import geometry

# 32 lanes for 2 ranks are 16 rows each; of an epoch's last 6 rows the first rank has all.
UNEVEN = geometry(rows=70, batch=32)
STEPS = 5


def enough(**options: float) -> ScarceTask:
    return ScarceTask(most=1000, rank=0, where="nowhere", **options)


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize(("rank", "micro"), [(0, None), (1, None), (1, 12)])
def test_one_rank_runs_out_and_all_train_what_the_whole_batch_gives(
    where: Where, rank: int, micro: int | None, tmp_path: Path
) -> None:
    whole = run_ranks(2, train_scarce, enough(), UNEVEN, STEPS, folder=tmp_path)
    task = ScarceTask(most=4, rank=rank, where=where)
    scarce = run_ranks(
        2, partial(train_scarce, micro=micro, events=tmp_path), task, UNEVEN, STEPS, folder=tmp_path
    )
    assert len({each["digest"] for each in scarce}) == 1
    for name, weight in whole[0]["weights"].items():
        np.testing.assert_allclose(scarce[0]["weights"][name], weight, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scarce[0]["losses"], whole[0]["losses"], rtol=1e-5)
    assert [each["safe"] for each in scarce] == [4, 4]
    told = [
        (event["event"], event["step"], event["rank"], event["rows"], event["micro_batch_size"])
        for event in read_json_lines(tmp_path / "events.jsonl")
    ]
    # 16 rows are cut by 12 into pieces of 8.
    sizes = [(16, 8), (8, 4)] if micro is None else [(8, 4)]
    assert told == [("out-of-memory", 1, rank, *each) for each in sizes]


def test_without_other_ranks_a_step_is_tried_again_too() -> None:
    scarce = train_scarce(ScarceTask(most=8, rank=0, where="backward"), UNEVEN, STEPS)
    whole = train_scarce(enough(), UNEVEN, STEPS)
    assert (scarce["safe"], whole["safe"]) == (8, None)
    np.testing.assert_allclose(scarce["losses"], whole["losses"], rtol=1e-5)


def test_a_step_that_was_tried_again_is_the_same_to_the_bit_as_one_that_was_not(
    tmp_path: Path,
) -> None:
    # Running means and dropout: what the failed tries drew and counted is undone.
    task = ScarceTask(most=8, rank=1, where="backward", norm=True, dropout=0.2)
    again = run_ranks(2, train_scarce, task, UNEVEN, STEPS, folder=tmp_path)
    at_once = run_ranks(2, partial(train_scarce, micro=8), task, UNEVEN, STEPS, folder=tmp_path)
    assert [each["safe"] for each in (*again, *at_once)] == [8, 8, None, None]
    # Rank by rank: between two steps, each has running means of its own.
    assert [each["digest"] for each in again] == [each["digest"] for each in at_once]


def test_the_size_that_fits_is_in_the_checkpoint_until_the_spec_asks_for_another(
    tmp_path: Path,
) -> None:
    task = ScarceTask(most=4, rank=0, where="forward")
    first = train_scarce(task, UNEVEN, 2, save_to=tmp_path)
    assert first["safe"] == 4
    resumed, changed = tmp_path / "resumed", tmp_path / "changed"
    resumed.mkdir()
    changed.mkdir()
    same = train_scarce(task, UNEVEN, STEPS, start_from=tmp_path, events=resumed)
    assert same["safe"] == 4
    assert not read_json_lines(resumed / "events.jsonl")
    other = train_scarce(task, UNEVEN, STEPS, start_from=tmp_path, micro=6, events=changed)
    assert other["safe"] == 3
    assert len(read_json_lines(changed / "events.jsonl")) == 1


@pytest.mark.parametrize(
    ("most", "retries", "message"),
    [
        (0, 9, "memory of worker 1's device does not suffice for 1 row at a time in step 1: out"),
        (4, 1, r"for 8 rows at a time in step 1, and training.oom_retries \(1\) is used up"),
        (4, 0, "for 16 rows at a time in step 1: out of memory in backward"),
    ],
)
def test_where_nothing_helps_all_ranks_say_so(
    most: int, retries: int, message: str, tmp_path: Path
) -> None:
    task = ScarceTask(most=most, rank=1, where="backward")
    ranks = try_ranks(
        2, partial(train_scarce, retries=retries), task, UNEVEN, STEPS, folder=tmp_path
    )
    for found in ranks:
        assert isinstance(found, Raised)
        assert isinstance(found.error, DeviceMemoryError)
        with pytest.raises(DeviceMemoryError, match=message):
            raise found.error
