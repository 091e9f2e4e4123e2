"""One attempt: the plan from a step on, as one `fit()` of Ray Train."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from ray.data import Dataset
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.config import FailureConfig

from orchestrator.checkpoint.attempts import Attempt
from orchestrator.data.fitted import FittedState
from orchestrator.data.pipeline import build_stream
from orchestrator.data.split import ExactDataConfig
from orchestrator.plan.job import JobPlan
from orchestrator.run.cluster import collective_backend
from orchestrator.run.directory import RunDirectory
from orchestrator.train.config import WorkerConfig
from orchestrator.train.worker import train_worker


def fit(
    plan: JobPlan,
    directory: RunDirectory,
    attempt: Attempt,
    fitted: tuple[FittedState, ...] = (),
) -> None:
    """Trains from the attempt's step to the last one; blocks until it ends.

    Args:
        fitted: the states of the fitted transforms.

    Raises:
        ray.train.TrainingFailedError: with the errors of the workers.
    """
    scaling = plan.spec.scaling
    config = _worker_config(plan, directory, attempt, fitted)
    trainer = TorchTrainer(
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
        datasets=_streams(plan, attempt.step, fitted),
        dataset_config=ExactDataConfig(),
        run_config=RunConfig(
            # A name of its own: under the old one Ray would resume from a file of its own.
            name=f"attempt-{attempt.number}",
            storage_path=str(directory.ray),
            failure_config=FailureConfig(max_failures=0, controller_failure_limit=0),
        ),
    )
    _run_apart(trainer.fit)


def _run_apart(work: Callable[[], object]) -> None:
    """Waits for work in another thread: in the main one Ray would take Ctrl-C away from us."""
    done: Future[None] = Future()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=run, name="fit", daemon=True).start()
    done.result()


def _streams(
    plan: JobPlan, step: int, fitted: tuple[FittedState, ...]
) -> dict[str, Dataset | Callable[[], Dataset]]:
    """The data sets of an attempt that begins after `step` steps."""
    root = Path(plan.spec.runtime.working_dir)
    return {
        stream.split: build_stream(
            stream,
            root=root,
            workers=plan.workers,
            superblocks=superblocks,
            fitted=fitted,
        )
        for stream, superblocks in plan.streams_from(step)
    }


def _worker_config(
    plan: JobPlan, directory: RunDirectory, attempt: Attempt, fitted: tuple[FittedState, ...]
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
    )


def _worker_resources(plan: JobPlan) -> dict[str, float]:
    scaling = plan.spec.scaling
    resources = {"CPU": scaling.cpus_per_worker}
    if scaling.gpus_per_worker:
        resources["GPU"] = scaling.gpus_per_worker
    return resources
