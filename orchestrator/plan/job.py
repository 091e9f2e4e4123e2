"""The job plan: what will happen, computed from the spec, the indexes and the cluster."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import PlanError
from orchestrator.plan.counting import Counting, counting_problems, empty_problem, plan_counting
from orchestrator.plan.elastic import workers_that_fit
from orchestrator.plan.fingerprint import Fingerprint, order_fingerprint
from orchestrator.plan.fitted import PlannedFit, fitted_problems, plan_fits
from orchestrator.plan.geometry import Cursor, StreamGeometry
from orchestrator.plan.index import DatasetIndex
from orchestrator.plan.open_epoch import OpenEpoch
from orchestrator.plan.origins import Counts
from orchestrator.plan.preflight import find_problems, find_warnings, refusal
from orchestrator.plan.quarantine import most_errors, quarantine_problems
from orchestrator.plan.resources import ClusterCapacity, ResourcePlan, job_resources
from orchestrator.plan.stream import StreamPlan, plan_streams
from orchestrator.plan.tuning import MeasuredCost
from orchestrator.spec.job import JobSpec
from orchestrator.spec.transform import Split
from orchestrator.units import Interval


@dataclass(frozen=True, kw_only=True, slots=True)
class JobPlan:
    """All that `run` will do, before it does anything.

    `workers` is how many of the range in the spec the cluster has room for; an attempt of an
    elastic job is planned anew, for the cluster as it is then.
    """

    spec: JobSpec
    workers: int
    run_dir: Path
    train: StreamPlan
    validation: StreamPlan | None
    fitted: tuple[PlannedFit, ...]
    total_steps: int
    validate_every: int
    resources: ResourcePlan
    fingerprint: Fingerprint
    transform_hashes: Mapping[str, str]
    warnings: tuple[str, ...]
    cost: MeasuredCost | None

    @property
    def streams(self) -> tuple[StreamPlan, ...]:
        """The stream of the training rows, and that of the validation rows where there is one."""
        return (self.train,) if self.validation is None else (self.train, self.validation)

    @property
    def is_counted(self) -> bool:
        """Whether its steps are known; else they are a guess until the rows are counted."""
        return all(stream.is_counted for stream in self.streams)

    def counted(self, counts: Mapping[Split, Counts]) -> "JobPlan":
        """The plan with what the rows of each split give, int32 [rows of its index].

        Raises:
            PlanError: it cannot be carried out, now that this is known.
        """
        return build_plan(
            self.spec,
            train=self.train.index,
            validation=self.validation.index if self.validation else None,
            transform_hashes=self.transform_hashes,
            capacity=self.resources.capacity,
            fitted={fit.use for fit in self.fitted},
            counts=counts,
            cost=self.cost,
        )

    def measured(self, cost: MeasuredCost) -> "JobPlan":
        """The plan for what the training rows have been found to cost; its batches are the same.

        Raises:
            PlanError: it cannot be carried out.
        """
        return self._again(self.resources.capacity, cost=cost, workers=self.workers)

    def on(self, capacity: ClusterCapacity, *, most: int | None = None) -> "JobPlan":
        """The plan for another cluster, with as many workers as that has room for.

        Args:
            most: no more than these, by default those of the spec.

        Raises:
            PlanError: it has no room for the fewest.
        """
        plan = self._again(capacity, cost=self.cost, workers=None)
        if most is None or plan.workers <= most:
            return plan
        return self._again(capacity, cost=self.cost, workers=most)

    def _again(
        self, capacity: ClusterCapacity, *, cost: MeasuredCost | None, workers: int | None
    ) -> "JobPlan":
        return _assemble(
            self.spec,
            {stream.split: stream.index for stream in self.streams},
            {stream.split: stream.counting for stream in self.streams},
            transform_hashes=self.transform_hashes,
            capacity=capacity,
            fitted={fit.use for fit in self.fitted},
            cost=cost,
            workers=workers,
        )

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

    def streams_from(
        self, step: int, open_epoch: OpenEpoch | None = None
    ) -> list[tuple[StreamPlan, range]]:
        """The streams that are still needed after `step` steps, each with its superblocks.

        Args:
            open_epoch: what is done of the epoch, where that is not just its first steps; some of
                the superblocks may then be done.
        """
        geometry = self.train.geometry
        cursor = geometry.cursor(step)
        if open_epoch is not None:
            cursor = Cursor(epoch=cursor.epoch, step=open_epoch.first_left)
        first = geometry.superblock_of(cursor)
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
    fitted: Collection[str] = (),
    counts: Mapping[Split, Counts] | None = None,
    cost: MeasuredCost | None = None,
) -> JobPlan:
    """The plan of a job.

    Args:
        transform_hashes: the source fingerprint of each transform the spec refers to.
        fitted: those of the transforms whose class is a fitted one.
        counts: how many units each row gives, where that has been counted.
        cost: of the training rows, once that has been measured.

    Raises:
        PlanError: what was asked for cannot be done, with every reason.
    """
    indexes: dict[Split, DatasetIndex] = {"train": train}
    if validation is not None:
        indexes["validation"] = validation
    fitted_on = {use: train.digest(spec.runtime.data_root) for use in fitted}
    counting = {
        split: _counting(spec, split, index, transform_hashes, counts or {}, fitted_on)
        for split, index in indexes.items()
    }
    return _assemble(
        spec,
        indexes,
        counting,
        transform_hashes=transform_hashes,
        capacity=capacity,
        fitted=fitted,
        cost=cost,
        workers=None,
    )


def _assemble(
    spec: JobSpec,
    indexes: Mapping[Split, DatasetIndex],
    counting: Mapping[Split, Counting | None],
    *,
    transform_hashes: Mapping[str, str],
    capacity: ClusterCapacity,
    fitted: Collection[str],
    cost: MeasuredCost | None,
    workers: int | None,
) -> JobPlan:
    def with_workers(number: int) -> tuple[JobSpec, dict[Split, StreamPlan], ResourcePlan]:
        fixed = spec.model_copy(update={"scaling": spec.scaling.fixed(number)})
        return fixed, *_streams(fixed, indexes, counting, capacity, cost)

    if workers is None:
        workers = workers_that_fit(spec.scaling, lambda n: not with_workers(n)[2].problems())
    fixed, streams, resources = with_workers(workers)
    geometry = streams["train"].geometry
    total = spec.training.steps or (spec.training.epochs or 0) * geometry.steps_per_epoch
    train_stream, kept = streams["train"], streams.get("validation")
    problems = [
        *find_problems(spec, train_stream, kept, resources),
        *fitted_problems(spec, fitted),
        *_counting_problems(spec, counting),
    ]
    if problems:
        raise refusal(problems, resources)
    return JobPlan(
        spec=spec,
        workers=workers,
        run_dir=Path(spec.runtime.data_root) / spec.checkpoint.storage / spec.name,
        train=train_stream,
        validation=kept,
        fitted=plan_fits(spec, fitted),
        total_steps=total,
        validate_every=_in_steps(spec.training.validate_every, geometry),
        resources=resources,
        fingerprint=order_fingerprint(spec, train_stream, transform_hashes),
        transform_hashes=transform_hashes,
        warnings=tuple(find_warnings(fixed, train_stream, kept, resources, total)),
        cost=cost,
    )


def _streams(
    spec: JobSpec,
    indexes: Mapping[Split, DatasetIndex],
    counting: Mapping[Split, Counting | None],
    capacity: ClusterCapacity,
    cost: MeasuredCost | None,
) -> tuple[dict[Split, StreamPlan], ResourcePlan]:
    """The streams, and what they and the training workers need of the cluster."""
    streams = plan_streams(
        spec, indexes["train"], indexes.get("validation"), capacity, counting, cost
    )
    resources = job_resources(
        spec.scaling,
        streams["train"].stages,
        streams["validation"].stages if "validation" in streams else (),
        capacity,
        relaxed=streams["train"].relaxed,
    )
    return streams, resources


def _counting(
    spec: JobSpec,
    split: Split,
    index: DatasetIndex,
    hashes: Mapping[str, str],
    counts: Mapping[Split, Counts],
    fitted_on: Mapping[str, str],
) -> Counting | None:
    transforms = tuple(transform for transform in spec.transforms if split in transform.splits)
    root = spec.runtime.data_root
    planned = plan_counting(
        transforms,
        index,
        hashes,
        root,
        fitted_on=fitted_on,
        most_errors=most_errors(spec.dataset, index.rows),
        seed=spec.seed,
    )
    found = counts.get(split)
    return planned if planned is None or found is None else planned.counted(found, index)


def _counting_problems(spec: JobSpec, counting: Mapping[Split, Counting | None]) -> Iterator[str]:
    for split, planned in counting.items():
        if planned is not None:
            yield from counting_problems(spec.transforms, split)
            yield from empty_problem(split, planned)
            if planned.most_errors is not None:
                yield from quarantine_problems(spec.transforms, split)


def _in_steps(interval: Interval, geometry: StreamGeometry) -> int:
    if interval.epochs is not None:
        return interval.epochs * geometry.steps_per_epoch
    if interval.steps is None:
        raise PlanError(f"training.validate_every: {interval} is neither steps nor epochs")
    return interval.steps
