"""The input of a stream: the numbers of its windows, one a block."""

import warnings
from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import numpy as np
import pyarrow as pa
import ray.data
from ray.data import Dataset, Datasource, ReadTask
from ray.data.block import Block, BlockMetadata
from ray.data.context import DataContext

from orchestrator.labels import Labels

# Window numbers that one task gives: small enough to start at once, few enough for millions.
_NUMBERS_PER_TASK = 2000
# Ray takes what is there about ten times a second, so that a reader may begin so many windows in
# one of these times. More of them would make no reader faster, and queue up in Ray's memory.
_NUMBERS_A_READER = 2
_BYTES_OF_A_NUMBER = 8


def number_windows(
    count: int, *, readers: int, one_task: bool = False, selector: Labels = ()
) -> Dataset:
    """The numbers 0..count-1 in the column `id`, one a block, so that a task gets one window.

    Args:
        readers: the most workers that take them.
        one_task: slower to start, but the numbers come in about their order where Ray keeps none.
        selector: which labels the nodes of the tasks have to have.
    """
    tasks = 1 if one_task else max(1, count // _NUMBERS_PER_TASK)
    with warnings.catch_warnings():
        # Ray 2.60 wants its options by name, but has no name for this one.
        warnings.filterwarnings("ignore", message=".*ray_remote_args.* is deprecated")
        numbers: Dataset = ray.data.read_datasource(
            _Numbers(count),
            override_num_blocks=tasks,
            # Two objects a block. It is also what keeps Ray from fusing the reader with this, which
            # would hand all windows of a task to a single worker.
            ray_remote_args={
                "_generator_backpressure_num_objects": 2 * _NUMBERS_A_READER * readers,
                "label_selector": dict(selector) or None,
            },
        )
    return numbers


class _Numbers(Datasource):
    """The numbers 0..count-1.

    Ray's own `range` needs a repartition behind it, which is one more task for each number: no more
    than ten windows a second then begin, however many readers there are.
    """

    def __init__(self, count: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Ray gives it no types
        self._count = count

    def estimate_inmemory_data_size(self) -> int:
        return self._count * _BYTES_OF_A_NUMBER

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: DataContext | None = None,
    ) -> list[ReadTask]:
        """Ray asks for so many tasks."""
        del per_task_row_limit, data_context
        cuts = [self._count * task // parallelism for task in range(parallelism + 1)]
        return [
            ReadTask(
                partial(_blocks, start, stop),
                BlockMetadata(
                    num_rows=stop - start,
                    size_bytes=(stop - start) * _BYTES_OF_A_NUMBER,
                    exec_stats=None,
                    input_files=None,
                ),
            )
            for start, stop in pairwise(cuts)
            if stop > start
        ]


def _blocks(start: int, stop: int) -> Iterator[Block]:
    for number in range(start, stop):
        yield pa.table({"id": np.array([number])})
