"""The model and the optimizer of a task, shared between the ranks as the spec says."""

from typing import assert_never

from orchestrator.plan.job import JobPlan
from orchestrator.train.fsdp import FsdpStrategy, ShardedOptimizer
from orchestrator.train.optimizer import ScheduledOptimizer
from orchestrator.train.shards import Shards, check_tensors
from orchestrator.train.state import MODEL, TrainState
from orchestrator.train.strategy import DdpStrategy, Strategy
from orchestrator.train.task import TrainTask


def build_parts(
    plan: JobPlan, task: TrainTask, state: TrainState
) -> tuple[Strategy, ScheduledOptimizer]:
    """Makes both and puts them into the state.

    Raises:
        JobFailedError: the model cannot be shared in this way.
        CheckpointError: what is to be kept of it cannot be kept in pieces.
    """
    training = plan.spec.training
    strategy: Strategy
    match training.strategy:
        case "ddp":
            retries = training.oom_retries > 0
            strategy = DdpStrategy(task.build_model(), state.device, retries=retries)
        case "fsdp":
            several = training.micro_batch_size is not None
            strategy = FsdpStrategy(task.build_model(), state.device, several_passes=several)
        case _:
            assert_never(training.strategy)
    optimizer = ScheduledOptimizer(
        task.build_optimizer(strategy.model, training.optimizer),
        training.schedule,
        total_steps=plan.total_steps,
    )
    if training.strategy == "fsdp":
        optimizer = ShardedOptimizer(optimizer, strategy.model)
        state.shards = Shards()
    state.parts.update(model=strategy, optimizer=optimizer)
    if state.shards is not None:
        # Now, and not after the first interval. Not of the optimizer, which would count a step.
        check_tensors({MODEL: strategy.state()})
    return strategy, optimizer
