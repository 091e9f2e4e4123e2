"""What runs in each training worker: everything is put together here, then the loop runs."""

import warnings
from collections.abc import Iterator
from itertools import chain

import ray.train
import ray.train.torch
import torch

from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.data.deaths import named_deaths
from orchestrator.data.feed import Feed, LocalBatch, begin_early
from orchestrator.errors import JobFailedError, SpecError
from orchestrator.plan.geometry import Cursor
from orchestrator.plan.job import JobPlan
from orchestrator.plan.stream import PREFETCHED_BLOCKS, StreamPlan
from orchestrator.train.config import WorkerConfig
from orchestrator.train.evaluation import Evaluator
from orchestrator.train.loop import TrainingLoop
from orchestrator.train.optimizer import ScheduledOptimizer
from orchestrator.train.recorder import Recorder
from orchestrator.train.saving import Saver
from orchestrator.train.state import TrainState
from orchestrator.train.stepper import Stepper, seed_everything, world
from orchestrator.train.strategy import DdpStrategy
from orchestrator.train.task import TrainTask
from orchestrator.train.totals import check_same_names
from orchestrator.train.user_task import load_task


def train_worker(loop_config: dict[str, WorkerConfig]) -> None:
    """Runs one attempt on one rank; the configuration comes under the key "config"."""
    config = loop_config["config"]
    plan, training = config.plan, config.plan.spec.training
    device = _device(training.device)
    # Tensors that share a block's memory are read-only, and torch warns of each.
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    task = load_task(training, config.root)
    seed_everything(plan.spec.seed, 0, 0)
    strategy = DdpStrategy(task.build_model(), device)
    optimizer = ScheduledOptimizer(
        task.build_optimizer(strategy.model, training.optimizer),
        training.schedule,
        total_steps=plan.total_steps,
    )
    state = TrainState(strategy=strategy, optimizer=optimizer)
    stepper = Stepper(
        task,
        strategy,
        optimizer,
        device=device,
        seed=plan.spec.seed,
        micro_batch_size=training.micro_batch_size,
        clip_norm=training.clip_norm,
    )
    # Before the first training batch is waited for: both streams then start at the same time.
    evaluator = _build_evaluator(config, task, strategy, device)
    feed, batches = _open_training(config, stepper, strategy)
    _load(config, state)
    if evaluator is not None:
        _rehearse(plan, evaluator)
    recorder = saver = None
    if world()[0] == 0:
        recorder = Recorder(config.run_dir, attempt=config.attempt)
        saver = Saver(
            plan,
            config.run_dir,
            attempt=config.attempt,
            recorder=recorder,
            fitted=config.fitted,
        )
    loop = TrainingLoop(plan, state, stepper, feed, evaluator, recorder=recorder, saver=saver)
    try:
        loop.run(batches)
    finally:
        if recorder is not None:
            recorder.close()


def _device(wanted: str) -> torch.device:
    if wanted == "cpu":
        return torch.device("cpu")
    device = ray.train.torch.get_device()
    if wanted == "cuda" and device.type != "cuda":
        raise JobFailedError(
            "training.device is cuda, but this worker was given no GPU",
            hint="scaling.gpus_per_worker: 1 asks for one",
        )
    return device


def _open_training(
    config: WorkerConfig, stepper: Stepper, strategy: DdpStrategy
) -> tuple[Feed, Iterator[LocalBatch]]:
    """The training batches; the first of them settles the gradient exchange."""
    (stream, span), *_ = config.plan.streams_from(config.step)
    feed = _feed(stream, span, first=stream.geometry.cursor(config.step))
    batches = iter(feed)
    first = next(batches)
    seed_everything(config.plan.spec.seed, config.step, first.lane)
    strategy.settle(lambda: _forget(stepper, first))
    return feed, chain([first], batches)


def _forget(stepper: Stepper, batch: LocalBatch) -> None:
    check_same_names(stepper.forward_backward(batch).names)


def _rehearse(plan: JobPlan, evaluator: Evaluator) -> None:
    names = evaluator.rehearse()
    check_same_names(names)
    best = plan.spec.checkpoint.best
    if best is not None and best.metric not in names:
        raise SpecError(
            f"checkpoint.best.metric is {best.metric!r}, but a validation gives {', '.join(names)}"
        )


def _load(config: WorkerConfig, state: TrainState) -> None:
    if config.checkpoint is None:
        return
    name, digest = config.checkpoint
    store = CheckpointStore(config.run_dir / "checkpoints")
    # The driver chose it; each rank checks that it reads the very same one.
    _, directory = store.read_verified(name, digest)
    state.read(directory)


def _build_evaluator(
    config: WorkerConfig, task: TrainTask, strategy: DdpStrategy, device: torch.device
) -> Evaluator | None:
    _, *validation = config.plan.streams_from(config.step)
    if not validation:
        return None
    ((stream, span),) = validation
    geometry = stream.geometry
    # A pass over the validation rows is to its stream what an epoch is to the training stream.
    first = Cursor(epoch=span.start // geometry.superblocks_per_epoch, step=0)
    batches = begin_early(_feed(stream, span, first=first))
    return Evaluator(
        task,
        strategy,
        batches,
        steps=geometry.steps_per_epoch,
        device=device,
        micro_batch_size=config.plan.spec.training.micro_batch_size,
    )


def _feed(stream: StreamPlan, span: range, *, first: Cursor) -> Feed:
    rank, workers = world()
    shard = ray.train.get_dataset_shard(stream.split)
    blocks = shard.iter_batches(
        # A block as it is: cutting it into batches is the feed's work, without a copy.
        batch_size=None,
        batch_format="pyarrow",
        # In blocks: the worker's share of the superblock after the one in hand, and one more.
        prefetch_batches=PREFETCHED_BLOCKS,
    )
    uses = [transform.use for transform in stream.transforms]
    return Feed(
        named_deaths(blocks, uses, through_coordinator=True),
        stream.geometry,
        rank=rank,
        workers=workers,
        first=first,
        last_superblock=span.stop,
    )
