"""A stream plan translated to Ray Data: window numbers -> actor pools -> one block a rank."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray.data
from ray.data import ActorPoolStrategy, DataContext, Dataset, ExecutionOptions, ExecutionResources

from orchestrator.data.reader import MapStage, ReadStage, StageTask
from orchestrator.plan.resources import NUMBERING_CPUS
from orchestrator.plan.stream import StreamPlan

# Window numbers in one block of the input: small enough to start at once, few enough for millions.
_NUMBERS_PER_TASK = 2000


def build_stream(
    stream: StreamPlan,
    *,
    root: Path,
    workers: int,
    superblocks: range,
) -> Dataset:
    """A stretch of a stream in order: for each superblock one block a rank, the first rank first.

    Args:
        root: the job's working directory, where the transforms are found.
        workers: training workers, among which each superblock is shared out.
    """
    windows = range(
        stream.geometry.window_of(superblocks.start),
        stream.geometry.window_of(superblocks.stop - 1) + 1,
    )
    with _stream_context(stream):
        numbers = ray.data.range(
            len(windows), override_num_blocks=max(1, len(windows) // _NUMBERS_PER_TASK)
        )
        # One number a block, so one window a task. Also what keeps Ray from fusing the reader with
        # the range, which would hand all the windows to a single task.
        dataset = numbers.repartition(target_num_rows_per_block=1, strict=True)
        for position, stage in enumerate(stream.stages):
            task = StageTask(
                stream=stream,
                position=position,
                root=root,
                workers=workers,
                superblocks=superblocks,
            )
            low, high = stage.workers
            dataset = dataset.map_batches(
                MapStage if position else ReadStage,
                fn_constructor_args=(task,),
                # An integer would let Ray gather windows, and once put all of them in one task.
                batch_size=None,
                batch_format="pyarrow" if position else "numpy",
                zero_copy_batch=True,
                num_cpus=stage.cpus,
                num_gpus=stage.gpus,
                compute=ActorPoolStrategy(
                    min_size=low,
                    max_size=high,
                    max_tasks_in_flight_per_actor=stage.tasks_in_flight,
                ),
            )
    return dataset


@contextmanager
def _stream_context(stream: StreamPlan) -> Iterator[None]:
    """Ray Data's settings for the stream, leaving the caller's own as they were."""
    context = DataContext.get_current().copy()
    # One byte: every block is cut to a single row, a rank's whole share of a superblock.
    # Blocks of equal length are what makes Ray's splitter go strictly round (see docs/adr/0002).
    context.target_max_block_size = 1
    context.target_min_block_size = 1
    context.enable_progress_bars = False
    # Otherwise a transform's error loses its cause on the way to the driver.
    context.raise_original_map_exception = True
    # A validation stream rests between two validations, and that is no failure.
    context.execution_no_progress_timeout_s = -1
    context.execution_options = ExecutionOptions(
        preserve_order=True,
        resource_limits=ExecutionResources(
            cpu=NUMBERING_CPUS + sum(stage.most_cpus for stage in stream.stages),
            gpu=sum(stage.most_gpus for stage in stream.stages),
        ),
    )
    with DataContext.current(context):
        yield
