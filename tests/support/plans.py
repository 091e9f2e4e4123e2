"""Specs, indexes and streams for tests of the plan and of the stream; no Ray, no torch."""

from collections.abc import Collection, Mapping, Sequence

from orchestrator.plan.index import Column, DatasetIndex, Fragment
from orchestrator.plan.job import JobPlan, build_plan
from orchestrator.plan.resources import ClusterCapacity
from orchestrator.spec.job import JobSpec

LARGE = ClusterCapacity(cpus=64, gpus=0, cores=4, embedded=False)


def make_index(
    sizes: Sequence[int] = (40, 30, 30), *, row_bytes: int = 8, folder: str = "/data"
) -> DatasetIndex:
    """An index of one file a fragment, whose files need not exist."""
    return DatasetIndex(
        fragments=tuple(
            Fragment(
                path=f"{folder}/part-{number}.parquet",
                row_group=0,
                rows=rows,
                bytes=rows * row_bytes,
            )
            for number, rows in enumerate(sizes)
        ),
        columns=(Column(name="id", dtype="int64", has_nulls=False),),
    )


def make_spec(**sections: object) -> JobSpec:
    """A small spec; a section replaces single fields of the one that is there."""
    job: dict[str, object] = {
        "name": "job",
        "seed": 7,
        "dataset": {"train": {"paths": "train"}},
        "transforms": [],
        "training": {"task": "pkg.task:Task", "epochs": 2, "global_batch_size": 12},
        "scaling": {"workers": 2},
        "runtime": {"working_dir": "/data"},
    }
    for name, section in sections.items():
        old = job.get(name)
        merged = isinstance(old, dict) and isinstance(section, Mapping)
        job[name] = {**old, **section} if merged else section  # type: ignore[dict-item]
    return JobSpec.model_validate(job)


def make_plan(
    spec: JobSpec | None = None,
    *,
    train: DatasetIndex | None = None,
    validation: DatasetIndex | None = None,
    capacity: ClusterCapacity = LARGE,
    code: str = "0" * 64,
    fitted: Collection[str] = (),
) -> JobPlan:
    """The plan of a spec over an index that need not lie on a disk."""
    spec = spec or make_spec()
    return build_plan(
        spec,
        train=train or make_index(),
        validation=validation,
        transform_hashes={transform.use: code for transform in spec.transforms},
        capacity=capacity,
        fitted=fitted,
    )
