"""What speaks against a job before anything of it is started."""

from collections.abc import Iterator

from orchestrator.plan.geometry import StreamGeometry
from orchestrator.plan.resources import ClusterCapacity, ResourcePlan
from orchestrator.plan.stream import StreamPlan
from orchestrator.spec.job import JobSpec
from orchestrator.units import format_bytes

# A window is held twice while it is read: as it comes and in its order.
_COPIES_OF_A_WINDOW = 2


def find_problems(spec: JobSpec, train: StreamPlan, resources: ResourcePlan) -> list[str]:
    """Every reason why the job cannot be run as asked, a line each."""
    return [
        *_missing_problems(spec),
        *_device_problems(spec),
        *_shape_problems(spec, train.geometry),
        *_memory_problems(train, resources.capacity),
        *resources.problems(),
    ]


def mend_of(resources: ResourcePlan) -> str | None:
    """How a lack of resources can be mended, where that is in the user's hands."""
    capacity = resources.capacity
    if capacity.embedded and resources.cpus > capacity.cpus:
        return f"runtime.cpus: {int(-(-resources.cpus // 1))} declares as many logical CPUs"
    return None


def find_warnings(spec: JobSpec, stream: StreamPlan, capacity: ClusterCapacity) -> list[str]:
    """What will work, but not well, a line each."""
    found = []
    amplification = stream.sample_order().read_amplification()
    if amplification > 1.25:
        found.append(
            f"each row is read {amplification:.1f} times on average: row groups are long beside a"
            f" window of {stream.geometry.window_steps * stream.geometry.batch} rows; raise"
            " dataset.shuffle.rows or write smaller row groups"
        )
    if capacity.embedded and spec.scaling.workers > capacity.cores:
        found.append(
            f"{spec.scaling.workers} training workers share {capacity.cores} processor cores"
        )
    if stream.geometry.superblock_steps < 8 and stream.geometry.steps_per_epoch >= 64:
        found.append(
            f"a block carries only {stream.geometry.superblock_steps} batches, so that the cost of"
            " a block weighs on each of them"
        )
    return found


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
    needed = _COPIES_OF_A_WINDOW * train.window_bytes * readers
    if capacity.memory_bytes is not None and needed > capacity.memory_bytes:
        yield (
            f"{readers} preprocessing workers read windows of {format_bytes(train.window_bytes)},"
            f" each held twice, but the machine has {format_bytes(capacity.memory_bytes)} of"
            " memory; lower dataset.shuffle.rows or scaling.preprocessing.workers"
        )


def _shape_problems(spec: JobSpec, geometry: StreamGeometry) -> list[str]:
    problems = []
    if spec.scaling.workers > geometry.lanes:
        problems.append(
            f"scaling.workers is {spec.scaling.workers}, but a global batch of {geometry.batch}"
            f" rows has {geometry.lanes} lanes, and a lane goes to one worker"
        )
    window = geometry.window_steps
    if window % geometry.superblock_steps:
        fitting = [str(steps) for steps in range(1, window + 1) if window % steps == 0]
        shown = fitting if len(fitting) <= 12 else [*fitting[:11], "..."]
        problems.append(
            f"scaling.superblock_steps is {geometry.superblock_steps}, which does not divide the"
            f" window of {window} steps; these do: {', '.join(shown)}"
        )
    return problems
