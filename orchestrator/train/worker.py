"""What runs in each training worker: everything is put together here, then the loop runs."""

import os
import sys
import warnings
from collections.abc import Callable
from functools import partial

import torch

from orchestrator.checkpoint.space import check_space
from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.errors import SpecError
from orchestrator.plan.job import JobPlan
from orchestrator.redaction.process import hide_environment
from orchestrator.spec.secrets import hide_secrets_of
from orchestrator.train.bookkeeping import Bookkeeping
from orchestrator.train.build import build_parts
from orchestrator.train.config import WorkerConfig
from orchestrator.train.context import TrainContext, learning_rate
from orchestrator.train.device import training_device
from orchestrator.train.evaluation import Evaluator
from orchestrator.train.first_rank import FirstRank
from orchestrator.train.footprint import state_bytes
from orchestrator.train.loop import TrainingLoop
from orchestrator.train.out_of_memory import MemoryRetries
from orchestrator.train.passes import ValidationPasses
from orchestrator.train.pulse import Pulse, open_pulse
from orchestrator.train.rank_mark import rank_mark
from orchestrator.train.recorder import Recorder
from orchestrator.train.row_ledger import open_recorder, open_writer
from orchestrator.train.saving import Saver
from orchestrator.train.state import TrainState
from orchestrator.train.stepper import Stepper, seed_everything, world
from orchestrator.train.stop import StopRequest
from orchestrator.train.strategy import Strategy
from orchestrator.train.streams import open_training, open_validation
from orchestrator.train.user_loop import Loop, load_training, run_loop
from orchestrator.train.user_task import GuardedTask


def train_worker(config: WorkerConfig) -> None:
    """Runs one attempt on one rank."""
    training = config.plan.spec.training
    hide_environment(os.environ)
    hide_secrets_of(config.plan.spec)
    # Tensors that share a block's memory are read-only, and torch warns of each.
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    state = TrainState(device=training_device(training.device))
    rank, workers = world()
    sys.stdout.write(rank_mark(rank, workers, config.attempt))
    first_rank = _open_first_rank(config) if rank == 0 else None
    try:
        with open_pulse(config, state, rank=rank, workers=workers) as pulse:
            match load_training(training, config.root):
                case GuardedTask() as task:
                    _train_task(config, task, state, first_rank, pulse)
                case loop:
                    _train_loop(config, loop, state, first_rank, pulse)
    finally:
        if first_rank is not None:
            first_rank.close()


def _train_task(
    config: WorkerConfig,
    task: GuardedTask,
    state: TrainState,
    first_rank: FirstRank | None,
    pulse: Pulse | None,
) -> None:
    plan, training = config.plan, config.plan.spec.training
    seed_everything(plan.spec.seed, 0, 0)
    strategy, optimizer = build_parts(plan, task, state)
    # Both before either is waited for: they then start at the same time.
    passes = _open_passes(config, pulse)
    books = _open_books(
        config,
        state,
        first_rank,
        learning_rate=lambda: optimizer.learning_rate(state.step - 1),
    )
    _load(config, state)
    evaluator = None if passes is None else _evaluator(plan, task, strategy, passes, state.device)
    if evaluator is not None:
        _rehearse(plan, evaluator)
    stepper = Stepper(
        task,
        strategy,
        optimizer,
        device=state.device,
        micro_batch_size=training.micro_batch_size,
        clip_norm=training.clip_norm,
        memory=MemoryRetries(
            strategy,
            state,
            asked=training.micro_batch_size,
            retries=training.oom_retries,
            seed=plan.spec.seed,
            recorder=None if first_rank is None else first_rank.recorder,
        ),
    )
    if first_rank is not None:
        # Now that the size is known, and not after an epoch.
        check_space(plan, state_bytes=state_bytes(strategy.model, optimizer.optimizer))
    with books.telling_of_waits():
        TrainingLoop(plan, state, books, stepper, evaluator).run()


def _train_loop(
    config: WorkerConfig,
    loop: Loop,
    state: TrainState,
    first_rank: FirstRank | None,
    pulse: Pulse | None,
) -> None:
    plan, training = config.plan, config.plan.spec.training
    passes = _open_passes(config, pulse)
    books = _open_books(config, state, first_rank, learning_rate=partial(learning_rate, state))
    context = TrainContext(plan, state, books, passes, read=partial(_load, config))
    seed_everything(plan.spec.seed, 0, 0)
    with books.telling_of_waits():
        run_loop(
            loop,
            context,
            books,
            name=str(training.loop),
            arguments=training.with_,
            root=config.root,
        )


def _open_first_rank(config: WorkerConfig) -> FirstRank:
    recorder = Recorder(config.run_dir, attempt=config.attempt)
    name, _ = config.checkpoint or (None, None)
    return FirstRank(
        recorder=recorder,
        saver=Saver(
            config.plan,
            config.run_dir,
            attempt=config.attempt,
            recorder=recorder,
            fitted=config.fitted,
            ledger=open_writer(
                config.plan,
                config.run_dir,
                attempt=config.attempt,
                step=config.step,
                checkpoint=name,
                in_order=config.open_epoch is None,
            ),
        ),
        stop=StopRequest(config.run_dir, attempt=config.attempt),
    )


def _open_books(
    config: WorkerConfig,
    state: TrainState,
    first_rank: FirstRank | None,
    *,
    learning_rate: Callable[[], float],
) -> Bookkeeping:
    feed, batches = open_training(config)
    return Bookkeeping(
        config.plan,
        state,
        batches,
        feed,
        learning_rate=learning_rate,
        first_rank=first_rank,
        ledger=open_recorder(config.plan),
        skips=config.skips,
    )


def _open_passes(config: WorkerConfig, pulse: Pulse | None) -> ValidationPasses | None:
    passes = open_validation(config)
    if pulse is not None:
        pulse.passes = passes
    return passes


def _load(config: WorkerConfig, state: TrainState) -> None:
    if config.checkpoint is None:
        return
    name, digest = config.checkpoint
    store = CheckpointStore(config.run_dir / "checkpoints")
    # The driver chose it; each rank checks that it reads the very same one.
    _, directory = store.read_verified(name, digest)
    state.read(directory)


def _evaluator(
    plan: JobPlan,
    task: GuardedTask,
    strategy: Strategy,
    passes: ValidationPasses,
    device: torch.device,
) -> Evaluator:
    return Evaluator(
        task,
        strategy,
        passes,
        device=device,
        micro_batch_size=plan.spec.training.micro_batch_size,
        summarise=task.summarise if task.summarises else None,
    )


def _rehearse(plan: JobPlan, evaluator: Evaluator) -> None:
    names, best = evaluator.rehearse(), plan.spec.checkpoint.best
    if names is not None and best is not None and best.metric not in names:
        raise SpecError(
            f"checkpoint.best.metric is {best.metric!r}, but a validation gives {', '.join(names)}"
        )
