"""A stream plan translated to Ray Data: window numbers -> actor pools -> one block a rank."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import ray.data
from ray.data import ActorPoolStrategy, DataContext, Dataset, ExecutionOptions, ExecutionResources

from orchestrator.data.deaths import CALL_RETRIES
from orchestrator.data.fitted import FittedState
from orchestrator.data.reader import MapStage, ReadStage, StageTask
from orchestrator.plan.resources import NUMBERING_CPUS
from orchestrator.plan.stages import Stage
from orchestrator.plan.stream import StreamPlan

# Window numbers in one block of the input: small enough to start at once, few enough for millions.
_NUMBERS_PER_TASK = 2000


def build_stream(
    stream: StreamPlan,
    *,
    root: Path,
    workers: int,
    superblocks: range,
    fitted: tuple[FittedState, ...] = (),
) -> Dataset:
    """A stretch of a stream in order: for each superblock one block a rank, the first rank first.

    Args:
        root: the job's working directory, where the transforms are found.
        workers: training workers, among which each superblock is shared out.
        fitted: the states of the fitted transforms.
    """
    windows = range(
        stream.geometry.window_of(superblocks.start),
        stream.geometry.window_of(superblocks.stop - 1) + 1,
    )
    with stream_context(stream.stages):
        dataset = number_windows(len(windows))
        for position, stage in enumerate(stream.stages):
            task = StageTask(
                stream=stream,
                position=position,
                root=root,
                workers=workers,
                superblocks=superblocks,
                fitted=fitted,
            )
            dataset = map_in_pool(
                dataset,
                MapStage if position else ReadStage,
                task,
                stage,
                batch_format="pyarrow" if position else "numpy",
            )
    return dataset


def number_windows(count: int) -> Dataset:
    """The numbers 0..count-1 in the column `id`, one a block."""
    numbers = ray.data.range(count, override_num_blocks=max(1, count // _NUMBERS_PER_TASK))
    # One number a block, so one window a task. Also what keeps Ray from fusing the reader with
    # the range, which would hand all the windows to a single task.
    return numbers.repartition(target_num_rows_per_block=1, strict=True)


def map_in_pool(
    dataset: Dataset, worker: type, task: object, stage: Stage, *, batch_format: str
) -> Dataset:
    """Calls a class on each block; it is made with the task in each worker of the stage."""
    low, high = stage.workers
    return dataset.map_batches(
        worker,
        fn_constructor_args=(task,),
        # An integer would let Ray gather windows, and once put all of them in one task.
        batch_size=None,
        batch_format=batch_format,
        zero_copy_batch=True,
        num_cpus=stage.cpus,
        num_gpus=stage.gpus,
        compute=ActorPoolStrategy(
            min_size=low,
            max_size=high,
            max_tasks_in_flight_per_actor=stage.tasks_in_flight,
        ),
        max_task_retries=CALL_RETRIES,
    )


@contextmanager
def stream_context(stages: Sequence[Stage]) -> Iterator[None]:
    """Ray Data's settings for streams through these stages, leaving the caller's as they were."""
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
            cpu=NUMBERING_CPUS + sum(stage.most_cpus for stage in stages),
            gpu=sum(stage.most_gpus for stage in stages),
        ),
    )
    with DataContext.current(context):
        yield
