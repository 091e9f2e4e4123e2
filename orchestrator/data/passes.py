"""A pass over the rows of a split before training: windows of whole fragments, in file order."""

from collections.abc import Iterable, Sequence
from typing import cast

import pyarrow as pa
import ray

from orchestrator.data.deaths import named_deaths
from orchestrator.data.pipeline import map_in_pool, stream_context
from orchestrator.data.window_numbers import number_windows
from orchestrator.errors import DataError
from orchestrator.plan.stages import Stage

# The columns of what a worker of a pass returns: a window, and what it found there, piece by piece.
WINDOW, FOUND = "window", "found"


def found_block(window: int, found: Sequence[bytes]) -> pa.Table:
    """What a worker found in a window, as it travels."""
    return pa.table({WINDOW: [window], FOUND: pa.array([found], type=pa.list_(pa.large_binary()))})


def run_pass(
    worker: type, task: object, *, windows: int, stage: Stage, uses: Sequence[str]
) -> list[bytes]:
    """What the workers found in windows 0..windows-1, in the order of these.

    Args:
        worker: made with the task in each worker; gives a `found_block` for each window's number.
        stage: the pool whose resources it takes.
        uses: the transforms that it applies, the last of which the pass is about.

    Raises:
        DataError: a method of a transform raised, or a worker died again and again.
        ray.exceptions.RayError: the pass failed.
    """
    # Read in a process of Ray's. Ray Data would else run in this one, go on when the user wants an
    # end, and take the process down where it meets a Ray that has been shut down.
    collect = ray.remote(num_cpus=0, max_retries=0)(_collect)
    found: list[bytes] = ray.get(collect.remote(worker, task, windows, stage, uses))
    return found


def _collect(
    worker: type, task: object, windows: int, stage: Stage, uses: Sequence[str]
) -> list[bytes]:
    with stream_context([stage]):
        numbers = number_windows(windows, readers=stage.workers[1], selector=stage.selector)
        dataset = map_in_pool(numbers, worker, task, stage, batch_format="numpy")
    blocks = cast(
        "Iterable[pa.Table]", dataset.iter_batches(batch_size=None, batch_format="pyarrow")
    )
    order: list[int] = []
    found: list[bytes] = []
    for block in named_deaths(blocks, uses, through_coordinator=False):
        order += block[WINDOW].to_pylist()
        for of_window in block[FOUND].to_pylist():
            found += of_window
    if order != list(range(windows)):
        raise DataError(
            f"{'; '.join(uses) or 'reading'}: the pass over the rows gave other windows than it was"
            f" asked for: {len(order)} of {windows}, or not in their order"
        )
    return found
