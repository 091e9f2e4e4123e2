"""A stream plan translated to Ray Data: window numbers -> actor pools -> one block a rank."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import ray.data
from ray.data import ActorPoolStrategy, DataContext, Dataset, ExecutionOptions, ExecutionResources

from orchestrator.data.deaths import CALL_RETRIES
from orchestrator.data.fitted import FittedState
from orchestrator.data.reader import MapStage, ReadStage, ShareStage, StageTask
from orchestrator.plan.open_epoch import OpenEpoch, windows_left
from orchestrator.plan.resources import NUMBERING_CPUS, SHARING_CPUS
from orchestrator.plan.stages import Stage
from orchestrator.plan.stream import StreamPlan

# Window numbers in one block of the input: small enough to start at once, few enough for millions.
_NUMBERS_PER_TASK = 2000
# One worker with one call under way: so the blocks of one superblock never mix with another's, and
# each goes to its rank although nothing else keeps an order.
_SHARING = Stage(
    transforms=(), positions=(), cpus=SHARING_CPUS, gpus=0.0, workers=(1, 1), tasks_in_flight=1
)


def build_stream(
    stream: StreamPlan,
    *,
    root: Path,
    workers: int,
    superblocks: range,
    open_epoch: OpenEpoch | None = None,
    fitted: tuple[FittedState, ...] = (),
) -> Dataset:
    """A stretch of a stream: for each superblock one block a rank, the first rank first.

    The superblocks come in order, or, of a relaxed stream, as they are ready.

    Args:
        root: the job's working directory, where the transforms are found.
        workers: training workers, among which each superblock is shared out.
        open_epoch: what is done of the first epoch, where that is not just its first steps.
        fitted: the states of the fitted transforms.
    """
    windows = windows_left(stream.geometry, superblocks, open_epoch)
    task = StageTask(
        stream=stream,
        position=0,
        root=root,
        workers=workers,
        superblocks=superblocks,
        open_epoch=open_epoch,
        fitted=fitted,
    )
    stages = [*stream.stages, *([_SHARING] if task.gathers else [])]
    with stream_context(stages, relaxed_for=workers if stream.relaxed else None):
        dataset = number_windows(len(windows), one_task=stream.relaxed)
        for position, stage in enumerate(stream.stages):
            dataset = map_in_pool(
                dataset,
                MapStage if position else ReadStage,
                replace(task, position=position),
                stage,
                batch_format="pyarrow" if position else "numpy",
            )
        if task.gathers:
            dataset = map_in_pool(dataset, ShareStage, task, _SHARING, batch_format="pyarrow")
    return dataset


def number_windows(count: int, *, one_task: bool = False) -> Dataset:
    """The numbers 0..count-1 in the column `id`, one a block.

    Args:
        one_task: slower, but the numbers come in about their order where Ray keeps none.
    """
    tasks = 1 if one_task else max(1, count // _NUMBERS_PER_TASK)
    numbers = ray.data.range(count, override_num_blocks=tasks)
    # One number a block, so one window a task. Also what keeps Ray from fusing the reader with
    # the range, which would hand all the windows to a single task.
    return numbers.repartition(target_num_rows_per_block=1, strict=True)


def map_in_pool(
    dataset: Dataset, worker: type, task: object, stage: Stage, *, batch_format: str
) -> Dataset:
    """Calls a class on each block; it is made with the task in each worker of the stage."""
    low, high = stage.workers
    with warnings.catch_warnings():
        # Ray 2.60 wants its options by name, but has no name for the retries of a call.
        warnings.filterwarnings("ignore", message=".*ray_remote_args.* is deprecated")
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
def stream_context(stages: Sequence[Stage], *, relaxed_for: int | None = None) -> Iterator[None]:
    """Ray Data's settings for streams through these stages, leaving the caller's as they were.

    Args:
        relaxed_for: the number of training workers, where blocks need not keep their order.
    """
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
    if relaxed_for is not None:
        # How many blocks a call may be ahead of Ray, which looks at it about ten times a second.
        # With Ray's own 2, sharing out one superblock among many workers would take many looks.
        context._max_num_blocks_in_streaming_gen_buffer = relaxed_for + 1
    context.execution_options = ExecutionOptions(
        preserve_order=relaxed_for is None,
        resource_limits=ExecutionResources(
            cpu=NUMBERING_CPUS + sum(stage.most_cpus for stage in stages),
            gpu=sum(stage.most_gpus for stage in stages),
        ),
    )
    with DataContext.current(context):
        yield
