"""One attempt: the plan from a step on, as one `fit()` of Ray Train."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from ray.data import DataIterator
from ray.train import RunConfig
from ray.train.v2.api.config import FailureConfig, ScalingConfig

from orchestrator.checkpoint.attempts import Attempt
from orchestrator.checkpoint.open_epoch import read_open_epoch
from orchestrator.data.fitted import FittedState
from orchestrator.data.pipeline import build_stream
from orchestrator.data.split import SplitStream, end_stream, split_stream
from orchestrator.plan.job import JobPlan
from orchestrator.plan.open_epoch import OpenEpoch
from orchestrator.plan.stream import StreamPlan
from orchestrator.run.apart import run_apart
from orchestrator.run.cluster import collective_backend
from orchestrator.run.directory import RunDirectory
from orchestrator.run.rewind import read_rewinds, skipped_places
from orchestrator.run.trainer import AttemptTrainer, ProcessGroup, free_places
from orchestrator.train.config import WorkerConfig
from orchestrator.train.worker import train_worker


def fit(
    plan: JobPlan,
    directory: RunDirectory,
    attempt: Attempt,
    fitted: tuple[FittedState, ...] = (),
    *,
    check: Callable[[], None],
) -> None:
    """Trains from the attempt's step to the last one; blocks until it ends.

    Args:
        fitted: the states of the fitted transforms.
        check: called several times a second in this thread; what it raises ends the wait.

    Raises:
        ray.train.TrainingFailedError: with the errors of the workers.
    """
    streams: dict[str, SplitStream] = {}
    trainers: list[AttemptTrainer] = []

    def work() -> None:
        open_epoch = _open_epoch(plan, directory, attempt)
        for stream, superblocks in plan.streams_from(attempt.step, open_epoch):
            streams[stream.split] = _begin(plan, stream, superblocks, open_epoch, fitted)
        readers = {split: stream.readers for split, stream in streams.items()}
        config = _worker_config(plan, directory, attempt, open_epoch, fitted, readers)
        trainers.append(_trainer(plan, directory, attempt, config))
        trainers[0].fit()

    try:
        run_apart(work, check)
    finally:
        # Whatever of the attempt is left holds places that the next one needs.
        for trainer in trainers:
            trainer.end()
        for stream in tuple(streams.values()):
            end_stream(stream)
        free_places()


def _trainer(
    plan: JobPlan, directory: RunDirectory, attempt: Attempt, config: WorkerConfig
) -> AttemptTrainer:
    scaling = plan.spec.scaling
    return AttemptTrainer(
        lambda: train_worker(config),
        scaling_config=ScalingConfig(
            num_workers=plan.workers,
            use_gpu=scaling.gpus_per_worker > 0,
            resources_per_worker=_worker_resources(plan),
            label_selector=dict(plan.resources.training_selector) or None,
        ),
        backend_config=ProcessGroup(
            backend=collective_backend(gpus_per_worker=scaling.gpus_per_worker),
            timeout_s=_collective_timeout(plan.spec.failure.hang_timeout),
        ),
        run_config=RunConfig(
            # A name of its own: under the old one Ray would resume from a file of its own.
            name=f"attempt-{attempt.number}",
            storage_path=str(directory.ray),
            failure_config=FailureConfig(max_failures=0, controller_failure_limit=0),
        ),
    )


def _collective_timeout(hang_timeout: float | Literal["off"]) -> int:
    # Half an hour is what Ray's own backend gives them.
    return 1800 if hang_timeout == "off" else max(1800, math.ceil(2 * hang_timeout))


def _begin(
    plan: JobPlan,
    stream: StreamPlan,
    superblocks: range,
    open_epoch: OpenEpoch | None,
    fitted: tuple[FittedState, ...],
) -> SplitStream:
    """Builds a stream and, on a single machine, lets it flow while the training workers start.

    On several, the workers are placed first: preprocessing could take the room from them on each
    of the nodes, although there is enough for both. So they are where others have left too little:
    a job that waits for its training workers should not hold places meanwhile.
    """
    dataset = build_stream(
        stream,
        root=Path(plan.spec.runtime.working_dir),
        workers=plan.workers,
        superblocks=superblocks,
        open_epoch=open_epoch if stream.split == "train" else None,
        fitted=fitted,
    )
    resources = plan.resources
    has_room = len(resources.capacity.machines) == 1 and resources.waits_for() is None
    return split_stream(dataset, plan.workers, at_once=has_room)


def _open_epoch(plan: JobPlan, directory: RunDirectory, attempt: Attempt) -> OpenEpoch | None:
    """What the attempt's checkpoint says of its epoch, beside the step."""
    if attempt.checkpoint is None:
        return None
    cursor = plan.train.geometry.cursor(attempt.step)
    return read_open_epoch(directory.path / "checkpoints" / attempt.checkpoint, cursor)


def _worker_config(
    plan: JobPlan,
    directory: RunDirectory,
    attempt: Attempt,
    open_epoch: OpenEpoch | None,
    fitted: tuple[FittedState, ...],
    readers: Mapping[str, Sequence[DataIterator]],
) -> WorkerConfig:
    chosen = None
    if attempt.checkpoint is not None and attempt.checkpoint_digest is not None:
        chosen = (attempt.checkpoint, attempt.checkpoint_digest)
    return WorkerConfig(
        plan=plan,
        root=Path(plan.spec.runtime.working_dir),
        run_dir=directory.path,
        attempt=attempt.number,
        step=attempt.step,
        checkpoint=chosen,
        fitted=fitted,
        readers=readers,
        open_epoch=open_epoch,
        skips=skipped_places(read_rewinds(directory.path)),
    )


def _worker_resources(plan: JobPlan) -> dict[str, float]:
    scaling = plan.spec.scaling
    resources = {"CPU": scaling.cpus_per_worker}
    if scaling.gpus_per_worker:
        resources["GPU"] = scaling.gpus_per_worker
    return resources
