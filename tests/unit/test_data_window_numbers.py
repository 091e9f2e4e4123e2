"""The numbers of windows as Ray is given them, and how far calls may be ahead; without Ray."""

import pytest

from orchestrator.data.pipeline import blocks_ahead
from orchestrator.data.window_numbers import _Numbers
from orchestrator.plan.stream import WINDOW_BYTES, StreamPlan
from tests.support.plans import make_index, make_plan, make_spec


@pytest.mark.parametrize(("count", "tasks"), [(1, 1), (7, 1), (7, 3), (4000, 2)])
def test_tasks_give_each_number_once_and_in_order_one_a_block(count: int, tasks: int) -> None:
    made = _Numbers(count).get_read_tasks(tasks)
    blocks = [block for task in made for block in task()]
    assert len(made) == tasks
    assert [block["id"].to_pylist() for block in blocks] == [[number] for number in range(count)]
    assert [task.metadata.num_rows for task in made] == [len(list(task())) for task in made]


def stream_of(shuffle: object) -> StreamPlan:
    spec = make_spec(
        dataset={"shuffle": shuffle},
        training={"global_batch_size": 100},
        scaling={"superblock_steps": 4},
    )
    return make_plan(spec, train=make_index([40_000], row_bytes=WINDOW_BYTES // 4_000)).train


def test_a_call_may_be_as_far_ahead_as_its_window() -> None:
    stream = stream_of({"type": "window", "rows": 1_600})
    assert stream.geometry.superblocks_per_window == 4
    assert blocks_ahead(stream, 1, gathered=False) == 4 + 1
    assert blocks_ahead(stream, 3, gathered=False) == 3 * 4 + 1
    # One block a superblock, until one worker gives three of it.
    assert blocks_ahead(stream, 3, gathered=True) == 4 + 1
    assert blocks_ahead(stream, 8, gathered=True) == 8 + 1


def test_in_a_window_of_the_whole_epoch_a_call_may_be_a_usual_window_ahead() -> None:
    stream = stream_of({"type": "window", "rows": "all"})
    assert stream.geometry.superblocks_per_window == 100
    assert blocks_ahead(stream, 2, gathered=False) == 2 * 10 + 1
