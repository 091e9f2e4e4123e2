"""The job plan: what will happen, computed from the spec, the indexes and the cluster."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import PlanError
from orchestrator.plan.fingerprint import Fingerprint
from orchestrator.plan.geometry import StreamGeometry, cut_stream, default_lanes
from orchestrator.plan.index import DatasetIndex
from orchestrator.plan.order import permutation_check
from orchestrator.plan.resources import (
    ClusterCapacity,
    Need,
    ResourcePlan,
    auto_workers,
    stage_needs,
)
from orchestrator.plan.stages import make_stages
from orchestrator.plan.stream import StreamPlan
from orchestrator.spec.job import JobSpec
from orchestrator.spec.transform import Split
from orchestrator.units import Interval

# A window is what one task reads: long enough to outlast Ray's scheduling quantum, small enough
# that several fit in memory. A superblock is what a worker holds of it at a time.
WINDOW_BYTES = 64 << 20
SUPERBLOCK_BYTES = 16 << 20
MOST_WINDOW_ROWS = 1 << 20
MOST_SUPERBLOCK_STEPS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class JobPlan:
    """All that `run` will do, before it does anything."""

    spec: JobSpec
    run_dir: Path
    train: StreamPlan
    validation: StreamPlan | None
    total_steps: int
    validate_every: int
    resources: ResourcePlan
    fingerprint: Fingerprint
    warnings: tuple[str, ...]

    @property
    def workers(self) -> int:
        return self.spec.scaling.workers

    def validation_due(self, step: int) -> bool:
        """Whether the rows set aside are scored after this step of the whole run."""
        return self.validation is not None and (
            step % self.validate_every == 0 or step == self.total_steps
        )

    def validations_until(self, step: int) -> int:
        """Validations due in steps 1..step: how many passes of its stream are used up by then."""
        done = step // self.validate_every
        extra = step >= self.total_steps and self.total_steps % self.validate_every != 0
        return done + int(extra)

    def streams_from(self, step: int) -> list[tuple[StreamPlan, range]]:
        """The streams that are still needed after `step` steps, each with its superblocks."""
        geometry = self.train.geometry
        first = geometry.superblock_of(geometry.cursor(step))
        last = geometry.superblock_of(geometry.cursor(self.total_steps - 1))
        streams = [(self.train, range(first, last + 1))]
        if self.validation is not None:
            passes = self.validation.geometry.superblocks_per_epoch
            done, planned = self.validations_until(step), self.validations_until(self.total_steps)
            if done < planned:
                streams.append((self.validation, range(done * passes, planned * passes)))
        return streams


def build_plan(
    spec: JobSpec,
    *,
    train: DatasetIndex,
    validation: DatasetIndex | None,
    transform_hashes: Mapping[str, str],
    capacity: ClusterCapacity,
) -> JobPlan:
    """The plan of a job.

    Args:
        transform_hashes: the source fingerprint of each transform the spec refers to.

    Raises:
        PlanError: what was asked for cannot be done, with every reason.
    """
    streams = _streams(spec, train, validation, capacity)
    geometry = streams["train"].geometry
    total = spec.training.steps or (spec.training.epochs or 0) * geometry.steps_per_epoch
    resources = _resources(spec, streams, capacity)
    problems = [*_shape_problems(spec, geometry), *resources.problems()]
    if problems:
        raise PlanError("\n".join(problems), hint=_hint(capacity, resources))
    return JobPlan(
        spec=spec,
        run_dir=Path(spec.runtime.working_dir) / spec.checkpoint.storage / spec.name,
        train=streams["train"],
        validation=streams.get("validation"),
        total_steps=total,
        validate_every=_in_steps(spec.training.validate_every, geometry),
        resources=resources,
        fingerprint=_fingerprint(spec, streams["train"], transform_hashes),
        warnings=tuple(_warnings(spec, streams["train"], capacity)),
    )


def _streams(
    spec: JobSpec,
    train: DatasetIndex,
    validation: DatasetIndex | None,
    capacity: ClusterCapacity,
) -> dict[Split, StreamPlan]:
    scaling = spec.scaling
    kept = make_stages(spec.transforms, split="validation", pool=scaling.validation, auto_workers=1)
    taken = scaling.workers * scaling.cpus_per_worker + 1
    if validation is not None:
        taken += 1 + sum(stage.most_cpus for stage in kept)
    pools = make_stages(spec.transforms, split="train", pool=scaling.preprocessing, auto_workers=0)
    workers = auto_workers(
        capacity=capacity,
        taken_cpus=taken,
        cpus_per_worker=scaling.preprocessing.cpus,
        pools=len(pools),
    )
    shuffle = spec.dataset.shuffle
    streams: dict[Split, StreamPlan] = {}
    streams["train"] = StreamPlan(
        split="train",
        index=train,
        geometry=_geometry(spec, train, shuffle.rows if shuffle.type == "window" else "auto"),
        stages=make_stages(
            spec.transforms,
            split="train",
            pool=scaling.preprocessing,
            auto_workers=workers,
        ),
        seed=spec.seed,
        shuffle_fragments=shuffle.type != "none",
        shuffle_rows=shuffle.type == "window",
        epochs_differ=True,
    )
    if validation is not None:
        streams["validation"] = StreamPlan(
            split="validation",
            index=validation,
            geometry=_geometry(spec, validation, "auto"),
            stages=kept,
            seed=spec.seed,
            shuffle_fragments=False,
            shuffle_rows=False,
            epochs_differ=False,
        )
    return streams


def _geometry(spec: JobSpec, index: DatasetIndex, window: int | str) -> StreamGeometry:
    batch = spec.training.global_batch_size
    lanes = default_lanes(batch) if spec.scaling.lanes == "auto" else spec.scaling.lanes
    row_bytes = max(1.0, index.bytes_per_row)
    if window == "all":
        rows = index.rows
    elif isinstance(window, int):
        rows = window
    else:
        rows = max(batch, min(MOST_WINDOW_ROWS, int(WINDOW_BYTES / row_bytes)))
    fixed = spec.scaling.superblock_steps
    return cut_stream(
        rows=index.rows,
        batch=batch,
        lanes=lanes,
        window_rows=rows,
        superblock_steps=None if fixed == "auto" else fixed,
        most_superblock_steps=max(
            1, min(MOST_SUPERBLOCK_STEPS, int(SUPERBLOCK_BYTES / (row_bytes * batch)))
        ),
    )


def _resources(
    spec: JobSpec, streams: Mapping[Split, StreamPlan], capacity: ClusterCapacity
) -> ResourcePlan:
    scaling = spec.scaling
    needs = [
        Need(
            what="training",
            count=str(scaling.workers),
            cpus=scaling.workers * scaling.cpus_per_worker,
            gpus=scaling.workers * scaling.gpus_per_worker,
        ),
        *stage_needs(streams["train"].stages, what="preprocessing"),
    ]
    if "validation" in streams:
        needs += stage_needs(streams["validation"].stages, what="validation")
    return ResourcePlan(needs=tuple(needs), capacity=capacity)


def _shape_problems(spec: JobSpec, geometry: StreamGeometry) -> list[str]:
    problems = []
    if spec.scaling.workers > geometry.lanes:
        problems.append(
            f"scaling.workers is {spec.scaling.workers}, but a global batch of {geometry.batch} rows"
            f" has {geometry.lanes} lanes, and a lane goes to one worker"
        )
    if (
        geometry.window_steps < geometry.steps_per_epoch
        and geometry.window_steps % geometry.superblock_steps
    ):
        problems.append(
            f"scaling.superblock_steps is {geometry.superblock_steps}, which does not divide the"
            f" window of {geometry.window_steps} steps"
        )
    return problems


def _hint(capacity: ClusterCapacity, resources: ResourcePlan) -> str | None:
    if capacity.embedded and resources.cpus > capacity.cpus:
        return f"runtime.cpus: {int(-(-resources.cpus // 1))} declares as many logical CPUs"
    return None


def _in_steps(interval: Interval, geometry: StreamGeometry) -> int:
    if interval.epochs is not None:
        return interval.epochs * geometry.steps_per_epoch
    if interval.steps is None:
        raise PlanError(f"training.validate_every: {interval} is neither steps nor epochs")
    return interval.steps


def _fingerprint(
    spec: JobSpec, stream: StreamPlan, transform_hashes: Mapping[str, str]
) -> Fingerprint:
    shuffle = spec.dataset.shuffle.type
    window = stream.geometry.window_steps * stream.geometry.batch
    whole = window >= stream.index.rows
    parts = {
        "data": stream.index.digest(spec.runtime.working_dir),
        "seed": str(spec.seed),
        "training.global_batch_size": str(stream.geometry.batch),
        "shuffle": shuffle if shuffle != "window" else f"window of {'all' if whole else window}",
        "shuffle generator": permutation_check(),
    }
    used = [transform for transform in spec.transforms if "train" in transform.splits]
    for position, transform in enumerate(used, start=1):
        described = transform.model_dump_json(include={"use", "with_"}, by_alias=True)
        parts[f"transform {position} ({transform.use})"] = (
            f"{described} {transform_hashes[transform.use]}"
        )
    return Fingerprint(parts=parts)


def _warnings(spec: JobSpec, stream: StreamPlan, capacity: ClusterCapacity) -> list[str]:
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
            f"a block holds only {stream.geometry.superblock_steps} batches, since rows are large"
        )
    return found
