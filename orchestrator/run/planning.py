"""From a spec to a plan: resolves the user's code, indexes the data, looks at the cluster."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from orchestrator.checkpoint.space import check_space, check_storage
from orchestrator.data.parquet_index import index_parquet
from orchestrator.data.transforms import BoundTransform
from orchestrator.errors import SpecError
from orchestrator.plan.index import DatasetIndex, join_indexes
from orchestrator.plan.job import JobPlan, build_plan
from orchestrator.plan.resources import ClusterCapacity
from orchestrator.run.cluster import capacity_of, environment_kept
from orchestrator.spec.check import check_symbols
from orchestrator.spec.dataset import TrainSpec
from orchestrator.spec.job import JobSpec
from orchestrator.spec.source import MixtureSpec
from orchestrator.symbols import symbol_fingerprint
from orchestrator.train.user_loop import load_training


def plan_job(spec: JobSpec, *, capacity: ClusterCapacity | None = None) -> JobPlan:
    """What running the spec will do.

    Nothing is started: the user's transforms and task are imported and constructed (a loop is only
    imported), and the footers of the data are read.

    Args:
        capacity: of the cluster; by default it is asked, or this machine for an embedded Ray.

    Raises:
        SpecError, DataError, PlanError, CheckpointError: why it cannot be run.
    """
    root = Path(spec.runtime.working_dir).resolve()
    data_root = Path(spec.runtime.data_root).resolve()
    check_symbols(spec, root)
    with environment_kept():
        # The user's code may ask for them as it is imported.
        os.environ.update(spec.runtime.env)
        fitted = _resolve(spec, root)
    dataset = spec.dataset
    validation = None
    if dataset.validation is not None:
        validation = _index(dataset.validation, data_root, "dataset.validation")
    places = {"working_dir": str(root)}
    if spec.runtime.data_dir is not None:
        places["data_dir"] = str(data_root)
    plan = build_plan(
        spec.model_copy(update={"runtime": spec.runtime.model_copy(update=places)}),
        train=_index(dataset.train, data_root, "dataset.train"),
        validation=validation,
        transform_hashes={
            transform.use: symbol_fingerprint(transform.use, root) for transform in spec.transforms
        },
        capacity=capacity or capacity_of(spec.runtime),
        fitted=fitted,
    )
    check_storage(plan.run_dir)
    return with_space_warning(plan)


def with_space_warning(plan: JobPlan) -> JobPlan:
    """The plan, with a warning where its checkpoints nearly fill the storage.

    Raises:
        CheckpointError: they do not fit.
    """
    scarce = check_space(plan)
    return replace(plan, warnings=(*plan.warnings, scarce)) if scarce else plan


def _index(read: TrainSpec, root: Path, where: str) -> DatasetIndex:
    if not isinstance(read, MixtureSpec):
        return index_parquet(read.paths, root=root, columns=read.columns, where=where)
    where = f"{where}.sources"
    indexes = {
        name: index_parquet(source.paths, root=root, columns=read.columns, where=f"{where}.{name}")
        for name, source in read.sources.items()
    }
    return join_indexes(indexes, where=where)


def _resolve(spec: JobSpec, root: Path) -> set[str]:
    """Imports the user's code, so that a worker is not the first to find a mistake.

    Returns those of the transforms that are fitted.
    """
    fitted = set()
    for position, transform in enumerate(spec.transforms):
        with _named(f"transforms.{position}"):
            bound = BoundTransform(transform, root=root, seed=spec.seed)
            if bound.wants_rng:
                _check_draw(spec, position)
        if bound.fitted:
            fitted.add(bound.name)
    with _named("training.task" if spec.training.loop is None else "training.loop"):
        load_training(spec.training, root)
    return fitted


def _check_draw(spec: JobSpec, position: int) -> None:
    """Refuses random numbers in what decides how many samples a row gives.

    That is counted once, for all epochs, and each epoch draws others.
    """
    transform = spec.transforms[position]
    for later in spec.transforms[position:]:
        if later.changes_rows and set(later.splits) & set(transform.splits):
            what = "changes" if later is transform else f"comes before {later.use}, which changes"
            raise SpecError(
                f"{transform.use} draws random numbers, but {what} the number of rows"
                f" ({later.kind}): that is counted once, for all epochs",
                hint="draw in a transform after it",
            )


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Puts the place in the spec before a mistake in the code that it refers to."""
    try:
        yield
    except SpecError as error:
        message = str(error).removeprefix(f"{path}: ")
        raise SpecError(f"{path}: {message}", hint=error.hint) from error
