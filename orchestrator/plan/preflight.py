"""What speaks against a job before anything of it is started."""

from collections.abc import Iterator, Sequence

from orchestrator.errors import PlanError
from orchestrator.plan.geometry import (
    StreamGeometry,
    fewest_lanes,
    nearest_batches,
    share_well,
)
from orchestrator.plan.mixture_report import mixture_problems, mixture_warnings
from orchestrator.plan.resources import ClusterCapacity, ResourcePlan
from orchestrator.plan.stream import COPIES_OF_A_WINDOW, StreamPlan
from orchestrator.spec.job import JobSpec
from orchestrator.units import format_bytes


def find_problems(
    spec: JobSpec, train: StreamPlan, validation: StreamPlan | None, resources: ResourcePlan
) -> list[str]:
    """Every reason why the job cannot be run as asked, a line each."""
    return [
        *_missing_problems(spec),
        *_device_problems(spec),
        *mixture_problems(train),
        *_column_problems(train, validation),
        *_lane_problems(spec, train.geometry),
        *_superblock_problems(train.geometry),
        *_memory_problems(train, resources.capacity),
        *resources.problems(),
    ]


def refusal(problems: Sequence[str], resources: ResourcePlan) -> PlanError:
    """One error for all problems, with what would mend a lack of resources."""
    lines = "".join(f"\n  {problem}" for problem in problems)
    text = problems[0] if len(problems) == 1 else f"{len(problems)} problems in the plan:{lines}"
    return PlanError(text, hint=_mend_of(resources))


def find_warnings(
    spec: JobSpec,
    stream: StreamPlan,
    validation: StreamPlan | None,
    resources: ResourcePlan,
    total_steps: int,
) -> list[str]:
    """What will work, but not well, a line each."""
    return [
        *_reading_warnings(stream),
        *mixture_warnings(stream, total_steps),
        *_batch_warnings(spec, stream.geometry),
        *_column_warnings(stream, validation),
        *_sharing_warnings(spec, resources),
    ]


def _reading_warnings(stream: StreamPlan) -> Iterator[str]:
    geometry = stream.geometry
    amplification = stream.sample_order().read_amplification()
    if amplification > 1.25:
        yield (
            f"each row is read {amplification:.1f} times on average: row groups are long beside a"
            f" window of {geometry.window_steps * geometry.batch} rows; raise"
            " dataset.shuffle.rows or write smaller row groups"
        )
    if stream.relaxed and geometry.windows_per_epoch == 1:
        yield (
            "dataset.order is relaxed, but an epoch is one window, which one task reads: nothing"
            " can overtake; lower dataset.shuffle.rows"
        )
    if geometry.superblock_steps < 8 and geometry.steps_per_epoch >= 64:
        yield (
            f"a block carries only {geometry.superblock_steps} batches, so that the cost of"
            " a block weighs on each of them"
        )


def _batch_warnings(spec: JobSpec, geometry: StreamGeometry) -> Iterator[str]:
    workers, lanes = spec.scaling.most_workers, geometry.lanes
    if geometry.batch > geometry.rows:
        yield (
            f"training.global_batch_size is {geometry.batch}, but there are {geometry.rows} rows:"
            " an epoch is one step of all of them"
        )
    if not share_well(lanes, workers):
        text = (
            f"{workers} workers share {lanes} lanes unevenly: some take {-(-lanes // workers)},"
            f" others {lanes // workers} and wait"
        )
        mends = _lane_mends(spec, geometry.batch)
        yield f"{text}; better: {' or '.join(mends)}" if mends else text


def _column_warnings(train: StreamPlan, validation: StreamPlan | None) -> Iterator[str]:
    if validation is None:
        return
    there = {column.name for column in validation.index.columns}
    missing = [column.name for column in train.index.columns if column.name not in there]
    if missing:
        yield (
            f"dataset.validation has no column {', '.join(map(repr, missing))}, which"
            " dataset.train has: a transform of both, or the task, may want it"
        )


def _sharing_warnings(spec: JobSpec, resources: ResourcePlan) -> Iterator[str]:
    capacity = resources.capacity
    if capacity.embedded and spec.scaling.most_workers > capacity.cores:
        yield f"{spec.scaling.most_workers} training workers share {capacity.cores} processor cores"
    if (waiting := resources.waits_for()) is not None:
        yield waiting


def _missing_problems(spec: JobSpec) -> Iterator[str]:
    best = spec.checkpoint.best
    if best is not None and spec.dataset.validation is None:
        yield (
            f"checkpoint.best needs a validation to give {best.metric!r}, but there is no"
            " dataset.validation"
        )


def _device_problems(spec: JobSpec) -> Iterator[str]:
    device, gpus = spec.training.device, spec.scaling.gpus_per_worker
    if device == "cuda" and not gpus:
        yield (
            "training.device is cuda, but scaling.gpus_per_worker is 0: a worker is given no GPU"
        )
    if device == "cpu" and gpus:
        yield f"training.device is cpu, but scaling.gpus_per_worker takes {gpus:g} GPUs for each"


def _memory_problems(train: StreamPlan, capacity: ClusterCapacity) -> Iterator[str]:
    readers = train.stages[0].workers[1]
    needed = COPIES_OF_A_WINDOW * train.window_bytes * readers
    if capacity.memory_bytes is not None and needed > capacity.memory_bytes:
        yield (
            f"{readers} preprocessing workers read windows of {format_bytes(train.window_bytes)},"
            f" each held twice, but the machine has {format_bytes(capacity.memory_bytes)} of"
            " memory; lower dataset.shuffle.rows or scaling.preprocessing.workers"
        )


def _column_problems(train: StreamPlan, validation: StreamPlan | None) -> Iterator[str]:
    if validation is None:
        return
    types = {column.name: column.dtype for column in train.index.columns}
    for column in validation.index.columns:
        wanted = types.get(column.name, column.dtype)
        if column.dtype != wanted:
            yield (
                f"dataset.validation: column {column.name!r} is {column.dtype}, but {wanted} in"
                " dataset.train"
            )


def _lane_problems(spec: JobSpec, geometry: StreamGeometry) -> Iterator[str]:
    workers, lanes = spec.scaling.most_workers, geometry.lanes
    if workers > lanes:
        mends = [f"scaling.workers: {lanes} at most", *_lane_mends(spec, geometry.batch)]
        yield (
            f"scaling.workers is {workers}, but a global batch of {geometry.batch} rows is cut into"
            f" {lanes} lane{'s' * (lanes != 1)}, and a lane goes to one worker;"
            f" {', or '.join(mends)}"
        )


def _lane_mends(spec: JobSpec, batch: int) -> list[str]:
    """Settings with which the workers would share the lanes well."""
    mends = []
    if spec.scaling.lanes == "auto":
        sizes = [f"{size}" for size in nearest_batches(batch, spec.scaling.most_workers)]
        if sizes:
            mends.append(f"training.global_batch_size: {' or '.join(sizes)}")
    if (lanes := fewest_lanes(batch, spec.scaling.most_workers)) is not None:
        rows = batch // lanes
        mends.append(f"scaling.lanes: {lanes} (lanes of {rows} row{'s' * (rows != 1)})")
    return mends


def _superblock_problems(geometry: StreamGeometry) -> Iterator[str]:
    window = geometry.window_steps
    if window % geometry.superblock_steps:
        fitting = [str(steps) for steps in range(1, window + 1) if window % steps == 0]
        shown = fitting if len(fitting) <= 12 else [*fitting[:11], "..."]
        yield (
            f"scaling.superblock_steps is {geometry.superblock_steps}, which does not divide the"
            f" window of {window} steps; these do: {', '.join(shown)}"
        )


def _mend_of(resources: ResourcePlan) -> str | None:
    capacity = resources.capacity
    mends = []
    if capacity.embedded and resources.cpus > capacity.cpus:
        cpus = int(-(-resources.cpus // 1))
        mends.append(f"runtime.cpus: {cpus} declares as many logical CPUs")
    if resources.gpus and not capacity.gpus:
        mends.append("scaling.gpus_per_worker: 0 trains without GPUs")
    if resources.problems() and (most := resources.most_workers()):
        mends.append(f"scaling.workers: {most} fits")
    return "; ".join(mends) or None
