"""A stream plan translated to Ray Data: window numbers -> actor pools -> one block a rank."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ray.data import ActorPoolStrategy, DataContext, Dataset, ExecutionOptions, ExecutionResources

from orchestrator.data.deaths import CALL_RETRIES
from orchestrator.data.fitted import FittedState
from orchestrator.data.reader import MapStage, ReadStage, ShareStage, StageTask
from orchestrator.data.window_numbers import number_windows
from orchestrator.plan.open_epoch import OpenEpoch, windows_left
from orchestrator.plan.resources import NUMBERING_CPUS, SHARING_CPUS
from orchestrator.plan.stages import Stage
from orchestrator.plan.stream import WINDOW_BYTES, StreamPlan

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
    ahead = blocks_ahead(stream, workers, gathered=task.gathers)
    with stream_context(stages, in_order=not stream.relaxed, blocks_ahead=ahead):
        dataset = number_windows(
            len(windows),
            readers=stream.stages[0].workers[1],
            one_task=stream.relaxed,
            selector=stream.stages[0].selector,
        )
        for position, stage in enumerate(stream.stages):
            dataset = map_in_pool(
                dataset,
                MapStage if position else ReadStage,
                replace(task, position=position),
                stage,
                batch_format="pyarrow" if position else "numpy",
            )
        if task.gathers:
            sharing = replace(_SHARING, selector=stream.stages[0].selector)
            dataset = map_in_pool(dataset, ShareStage, task, sharing, batch_format="pyarrow")
    return dataset


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
            label_selector=dict(stage.selector) or None,
            compute=ActorPoolStrategy(
                min_size=low,
                max_size=high,
                max_tasks_in_flight_per_actor=stage.tasks_in_flight,
            ),
            max_task_retries=CALL_RETRIES,
        )


def blocks_ahead(stream: StreamPlan, workers: int, *, gathered: bool) -> int:
    """How many blocks a call may have made that Ray has not taken yet.

    Ray looks at a call about ten times a second, and takes all that is there. With Ray's own 2, a
    call stands still where it makes blocks faster, or several for one superblock. All that a call
    gives are the blocks of one window, whose rows it holds anyway; of a larger window than a plan
    would choose, as many as such a one would give. Ray counts them in its memory budget.

    Args:
        gathered: whether a superblock is one block until it is shared out.
    """
    geometry = stream.geometry
    superblocks = min(
        geometry.superblocks_per_window, WINDOW_BYTES // max(1, stream.superblock_bytes)
    )
    return max(superblocks, workers) + 1 if gathered else max(1, superblocks) * workers + 1


@contextmanager
def stream_context(
    stages: Sequence[Stage], *, in_order: bool = True, blocks_ahead: int | None = None
) -> Iterator[None]:
    """Ray Data's settings for streams through these stages, leaving the caller's as they were.

    Args:
        in_order: whether blocks must keep their order.
        blocks_ahead: how many of a call may be there that Ray has not taken; None leaves it to Ray.
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
    if blocks_ahead is not None:
        context._max_num_blocks_in_streaming_gen_buffer = blocks_ahead
    context.execution_options = ExecutionOptions(
        preserve_order=in_order,
        resource_limits=ExecutionResources(
            cpu=NUMBERING_CPUS + sum(stage.most_cpus for stage in stages),
            gpu=sum(stage.most_gpus for stage in stages),
        ),
    )
    with DataContext.current(context):
        yield
