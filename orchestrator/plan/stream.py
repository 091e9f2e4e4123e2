"""The plans of streams: what is read, in which order, cut how, by which workers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from orchestrator.plan.counting import Counting
from orchestrator.plan.geometry import (
    StreamGeometry,
    aligned_window,
    cut_stream,
    default_lanes,
)
from orchestrator.plan.index import DatasetIndex
from orchestrator.plan.mixture import MixedOrder, Order
from orchestrator.plan.order import SampleOrder
from orchestrator.plan.origins import Rows
from orchestrator.plan.resources import ClusterCapacity, auto_workers, job_resources
from orchestrator.plan.sources import Mixture, find_mixture, mixed_bytes_per_row
from orchestrator.plan.stages import Stage, make_stages
from orchestrator.plan.tuning import (
    LEAST_PREFETCHED,
    MeasuredCost,
    most_auto_workers,
    prefetched,
    transform_first,
    tune_pool,
)
from orchestrator.plan.where import pool_selector
from orchestrator.spec.base import Auto
from orchestrator.spec.job import JobSpec
from orchestrator.spec.transform import Split, TransformSpec

# A window is what one task reads: long enough to outlast Ray's scheduling quantum, small enough
# that several fit in memory. A superblock is what a worker holds of it at a time: all of a usual
# window, as Ray's work on one, about 9 ms (docs/benchmarks.md, W10), is the same for any size.
WINDOW_BYTES = 64 << 20
SUPERBLOCK_BYTES = 80 << 20
# Where the spec makes the object store a small one, as many should find room in it: with half as
# many, blocks of it were spilled (docs/benchmarks/missed.md, W9).
_SUPERBLOCKS_IN_STORE = 16
MOST_WINDOW_ROWS = 1 << 20
MOST_SUPERBLOCK_STEPS = 512
# Seconds that a reader may work on a superblock: the first batch waits for the first of them.
_SUPERBLOCK_S = 1.0
# A preprocessing worker holds a window as it is read, and as it is put in order.
COPIES_OF_A_WINDOW = 2
# The part of a machine's memory that workers which mostly wait may take with their windows.
_PART_OF_MEMORY = 1 / 4


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamPlan:
    """Everything a worker has to know about a stream except where it starts and ends.

    `epochs_differ` is true for training; every pass over the validation rows is the same.
    `mixture` tells apart the sources where there are several. `relaxed`
    means that the superblocks of an epoch come in the order in which they are ready.
    `prefetch_blocks` are fetched by a training worker ahead of the one in hand. `transforms_first`
    means that the rows of a window are put in order after the transforms, not before.
    """

    split: Split
    index: DatasetIndex
    geometry: StreamGeometry
    stages: tuple[Stage, ...]
    seed: int
    shuffle_fragments: bool
    shuffle_rows: bool
    epochs_differ: bool
    counting: Counting | None = None
    mixture: Mixture | None = None
    relaxed: bool = False
    prefetch_blocks: int = LEAST_PREFETCHED
    transforms_first: bool = False

    def sample_order(self) -> Order:
        """The order of the rows, as arithmetic."""
        kind = SampleOrder if self.mixture is None else partial(MixedOrder, mixture=self.mixture)
        return kind(
            self.fragment_units,
            window_rows=self.geometry.window_steps * self.geometry.batch,
            seed=self.seed,
            shuffle_fragments=self.shuffle_fragments,
            shuffle_rows=self.shuffle_rows,
            row_units=self.counting.length if self.counting else 1,
        )

    @property
    def fragment_units(self) -> Rows:
        """What the order counts by: rows, or what the transforms make of them."""
        if self.counting is None:
            return self.index.fragment_rows
        return self.counting.fragment_units(self.index)

    @property
    def is_counted(self) -> bool:
        """Whether it is known how many samples there are."""
        return self.counting is None or self.counting.units is not None

    @property
    def quarantines(self) -> bool:
        """Whether bad rows are left out; else the first one ends the run."""
        return self.counting is not None and self.counting.most_errors is not None

    @property
    def bytes_per_row(self) -> float:
        """Source bytes of a sample, on average."""
        row_bytes = mixed_bytes_per_row(self.index, self.mixture)
        return row_bytes * self.index.rows / max(1, self.geometry.rows)

    @property
    def transforms(self) -> tuple[TransformSpec, ...]:
        """The transforms of all stages, in order."""
        return tuple(transform for stage in self.stages for transform in stage.transforms)

    @property
    def window_bytes(self) -> int:
        """Bytes of the source columns in one window, which one task reads."""
        steps, batch = self.geometry.window_steps, self.geometry.batch
        return int(self.bytes_per_row * min(steps * batch, self.geometry.rows))

    @property
    def superblock_bytes(self) -> int:
        """Bytes of the source columns in one superblock, as they are before any transform."""
        steps, batch = self.geometry.superblock_steps, self.geometry.batch
        return int(self.bytes_per_row * min(steps * batch, self.geometry.rows))


def plan_streams(
    spec: JobSpec,
    train: DatasetIndex,
    validation: DatasetIndex | None,
    capacity: ClusterCapacity,
    counting: Mapping[Split, Counting | None],
    cost: MeasuredCost | None = None,
) -> dict[Split, StreamPlan]:
    """The stream of the training rows, and that of the validation rows where there are any.

    Args:
        cost: of the training rows, once it has been measured.
    """
    scaling, shuffle = spec.scaling, spec.dataset.shuffle
    window = shuffle.rows if shuffle.type == "window" else None
    mixture = find_mixture(spec.dataset.train, train)
    geometry = _geometry(spec, train, counting["train"], window, mixture, cost)
    tuning = tune_pool(scaling.preprocessing, cost, geometry)
    kept = make_stages(
        spec.transforms,
        split="validation",
        auto_workers=1,
        pool=scaling.validation,
        tuning=tune_pool(scaling.validation, None, geometry),
        selector=pool_selector(scaling, scaling.validation, capacity),
    )
    stages = partial(
        make_stages,
        spec.transforms,
        split="train",
        pool=scaling.preprocessing,
        tuning=tuning,
        selector=pool_selector(scaling, scaling.preprocessing, capacity),
    )
    relaxed = spec.dataset.order == "relaxed"
    # With none in the pools that are left open: what remains of the cluster is theirs.
    open_pools = stages(auto_workers=0)
    fixed = job_resources(
        scaling, open_pools, kept if validation is not None else (), capacity, relaxed=relaxed
    )
    row_bytes = mixed_bytes_per_row(train, mixture)
    workers = auto_workers(
        capacity=capacity,
        taken=fixed.needs,
        pools=[stage for stage in open_pools if not stage.workers[1]],
        most=most_auto_workers(
            scaling.preprocessing,
            tuning,
            capacity.cores,
            _memory_for(capacity, row_bytes * geometry.window_steps * geometry.batch),
        ),
    )
    trained = stages(auto_workers=workers)
    streams: dict[Split, StreamPlan] = {}
    streams["train"] = StreamPlan(
        split="train",
        index=train,
        geometry=geometry,
        counting=counting["train"],
        stages=trained,
        seed=spec.seed,
        shuffle_fragments=shuffle.type != "none",
        shuffle_rows=shuffle.type == "window",
        epochs_differ=True,
        mixture=mixture,
        relaxed=relaxed,
        prefetch_blocks=prefetched(scaling, cost, geometry, trained[0].workers[1]),
        transforms_first=transform_first(cost, geometry, WINDOW_BYTES),
    )
    if validation is not None:
        streams["validation"] = StreamPlan(
            split="validation",
            index=validation,
            geometry=_geometry(spec, validation, counting["validation"], None, None, None),
            counting=counting["validation"],
            stages=kept,
            seed=spec.seed,
            shuffle_fragments=False,
            shuffle_rows=False,
            epochs_differ=False,
            prefetch_blocks=prefetched(scaling, None, geometry, 1),
        )
    return streams


def _memory_for(capacity: ClusterCapacity, window_bytes: float) -> int:
    """How many workers the machine has memory for, beside everything else."""
    if capacity.memory_bytes is None:
        return capacity.cores
    held = COPIES_OF_A_WINDOW * max(1.0, window_bytes)
    return int(capacity.memory_bytes * _PART_OF_MEMORY / held)


def _geometry(
    spec: JobSpec,
    index: DatasetIndex,
    counting: Counting | None,
    window: int | str | None,
    mixture: Mixture | None,
    cost: MeasuredCost | None,
) -> StreamGeometry:
    """The cuts of a stream; `window` None is for one whose rows are not permuted in windows."""
    # Of a stream that nothing is left of there is a plan too, to say so with.
    total = max(1, _samples(index, counting, mixture))
    batch = spec.training.global_batch_size
    lanes = default_lanes(batch) if spec.scaling.lanes == "auto" else spec.scaling.lanes
    row_bytes = max(1.0, mixed_bytes_per_row(index, mixture) * index.rows / total)
    if window == "all":
        rows = total
    elif isinstance(window, int):
        rows = window
    else:
        rows = max(batch, min(MOST_WINDOW_ROWS, int(WINDOW_BYTES / row_bytes)))
        if counting is None and mixture is None:
            rows = aligned_window(rows, int(index.fragment_rows.max(initial=1)), batch)
    fixed = spec.scaling.superblock_steps
    return cut_stream(
        rows=total,
        batch=batch,
        lanes=lanes,
        window_rows=rows,
        window_is_order=window is not None,
        superblock_steps=None if fixed == "auto" else fixed,
        most_superblock_steps=_most_superblock_steps(
            row_bytes, batch, cost, _superblock_bytes(spec.runtime.object_store)
        ),
    )


def _superblock_bytes(store: int | Auto) -> int:
    """The most bytes of a superblock, for an object store of this size."""
    if store == "auto":
        return SUPERBLOCK_BYTES
    return min(SUPERBLOCK_BYTES, store // _SUPERBLOCKS_IN_STORE)


def _most_superblock_steps(
    row_bytes: float, batch: int, cost: MeasuredCost | None, most_bytes: int
) -> int:
    """A superblock is held as it leaves the transforms; Ray's work is the same for any size."""
    if cost is None:
        return max(1, min(MOST_SUPERBLOCK_STEPS, int(most_bytes / (row_bytes * batch))))
    in_memory = most_bytes / (max(1.0, cost.row_bytes) * batch)
    in_time = _SUPERBLOCK_S / (max(1e-9, cost.row_s) * batch)
    return max(1, min(MOST_SUPERBLOCK_STEPS, int(in_memory), int(in_time)))


def _samples(index: DatasetIndex, counting: Counting | None, mixture: Mixture | None) -> int:
    """Samples in an epoch: as many as one pass over each source gives."""
    if counting is None:
        return index.rows
    units = counting.fragment_units(index)
    sources = mixture.sources if mixture else ()
    parts = [units[source.start : source.stop] for source in sources] or [units]
    return sum(-(-int(part.sum()) // counting.length) for part in parts)
