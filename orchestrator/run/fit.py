"""One attempt: the plan from a step on, as one `fit()` of Ray Train."""

from collections.abc import Callable
from pathlib import Path

from ray.data import Dataset
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.config import FailureConfig

from orchestrator.checkpoint.attempts import Attempt
from orchestrator.checkpoint.open_epoch import read_open_epoch
from orchestrator.data.fitted import FittedState
from orchestrator.data.pipeline import build_stream
from orchestrator.data.split import ExactDataConfig
from orchestrator.plan.job import JobPlan
from orchestrator.plan.open_epoch import OpenEpoch
from orchestrator.run.apart import run_apart
from orchestrator.run.cluster import collective_backend
from orchestrator.run.directory import RunDirectory
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
    run_apart(lambda: _trainer(plan, directory, attempt, fitted).fit(), check)


def _trainer(
    plan: JobPlan, directory: RunDirectory, attempt: Attempt, fitted: tuple[FittedState, ...]
) -> TorchTrainer:
    scaling = plan.spec.scaling
    open_epoch = _open_epoch(plan, directory, attempt)
    config = _worker_config(plan, directory, attempt, open_epoch, fitted)
    return TorchTrainer(
        train_worker,
        train_loop_config={"config": config},
        scaling_config=ScalingConfig(
            num_workers=plan.workers,
            use_gpu=scaling.gpus_per_worker > 0,
            resources_per_worker=_worker_resources(plan),
        ),
        torch_config=TorchConfig(
            backend=collective_backend(gpus_per_worker=scaling.gpus_per_worker)
        ),
        datasets=_streams(plan, attempt.step, open_epoch, fitted),
        dataset_config=ExactDataConfig(),
        run_config=RunConfig(
            # A name of its own: under the old one Ray would resume from a file of its own.
            name=f"attempt-{attempt.number}",
            storage_path=str(directory.ray),
            failure_config=FailureConfig(max_failures=0, controller_failure_limit=0),
        ),
    )


def _open_epoch(plan: JobPlan, directory: RunDirectory, attempt: Attempt) -> OpenEpoch | None:
    """What the attempt's checkpoint says of its epoch, beside the step."""
    if attempt.checkpoint is None:
        return None
    cursor = plan.train.geometry.cursor(attempt.step)
    return read_open_epoch(directory.path / "checkpoints" / attempt.checkpoint, cursor)


def _streams(
    plan: JobPlan,
    step: int,
    open_epoch: OpenEpoch | None,
    fitted: tuple[FittedState, ...],
) -> dict[str, Dataset | Callable[[], Dataset]]:
    """The data sets of an attempt that begins after `step` steps."""
    root = Path(plan.spec.runtime.working_dir)
    return {
        stream.split: build_stream(
            stream,
            root=root,
            workers=plan.workers,
            superblocks=superblocks,
            open_epoch=open_epoch if stream.split == "train" else None,
            fitted=fitted,
        )
        for stream, superblocks in plan.streams_from(step, open_epoch)
    }


def _worker_config(
    plan: JobPlan,
    directory: RunDirectory,
    attempt: Attempt,
    open_epoch: OpenEpoch | None,
    fitted: tuple[FittedState, ...],
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
        open_epoch=open_epoch,
    )


def _worker_resources(plan: JobPlan) -> dict[str, float]:
    scaling = plan.spec.scaling
    resources = {"CPU": scaling.cpus_per_worker}
    if scaling.gpus_per_worker:
        resources["GPU"] = scaling.gpus_per_worker
    return resources
