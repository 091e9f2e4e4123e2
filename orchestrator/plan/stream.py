"""The plans of streams: what is read, in which order, cut how, by which workers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from orchestrator.plan.counting import Counting
from orchestrator.plan.geometry import StreamGeometry, cut_stream, default_lanes
from orchestrator.plan.index import DatasetIndex
from orchestrator.plan.mixture import MixedOrder, Order
from orchestrator.plan.order import SampleOrder
from orchestrator.plan.origins import Rows
from orchestrator.plan.resources import ClusterCapacity, auto_workers, job_resources
from orchestrator.plan.sources import Mixture, find_mixture, mixed_bytes_per_row
from orchestrator.plan.stages import Stage, make_stages
from orchestrator.spec.job import JobSpec
from orchestrator.spec.transform import Split, TransformSpec

# A window is what one task reads: long enough to outlast Ray's scheduling quantum, small enough
# that several fit in memory. A superblock is what a worker holds of it at a time.
WINDOW_BYTES = 64 << 20
SUPERBLOCK_BYTES = 16 << 20
MOST_WINDOW_ROWS = 1 << 20
MOST_SUPERBLOCK_STEPS = 64
# Blocks a worker fetches ahead of the one in hand: one to go on with, one on its way.
PREFETCHED_BLOCKS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamPlan:
    """Everything a worker has to know about a stream except where it starts and ends.

    `epochs_differ` is true for training; every pass over the validation rows is the same.
    `mixture` tells apart the sources where there are several. `relaxed`
    means that the superblocks of an epoch come in the order in which they are ready.
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
) -> dict[Split, StreamPlan]:
    """The stream of the training rows, and that of the validation rows where there are any."""
    scaling = spec.scaling
    kept = make_stages(spec.transforms, split="validation", pool=scaling.validation, auto_workers=1)
    # With none in the pools that are left open: what remains of the cluster is theirs.
    pools = make_stages(spec.transforms, split="train", pool=scaling.preprocessing, auto_workers=0)
    relaxed = spec.dataset.order == "relaxed"
    fixed = job_resources(
        scaling, pools, kept if validation is not None else (), capacity, relaxed=relaxed
    )
    workers = auto_workers(
        capacity=capacity,
        taken=fixed.needs,
        pools=[stage for stage in pools if not stage.workers[1]],
    )
    shuffle = spec.dataset.shuffle
    window = shuffle.rows if shuffle.type == "window" else None
    mixture = find_mixture(spec.dataset.train, train)
    streams: dict[Split, StreamPlan] = {}
    streams["train"] = StreamPlan(
        split="train",
        index=train,
        geometry=_geometry(spec, train, counting["train"], window, mixture),
        counting=counting["train"],
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
        mixture=mixture,
        relaxed=relaxed,
    )
    if validation is not None:
        streams["validation"] = StreamPlan(
            split="validation",
            index=validation,
            geometry=_geometry(spec, validation, counting["validation"], None, None),
            counting=counting["validation"],
            stages=kept,
            seed=spec.seed,
            shuffle_fragments=False,
            shuffle_rows=False,
            epochs_differ=False,
        )
    return streams


def _geometry(
    spec: JobSpec,
    index: DatasetIndex,
    counting: Counting | None,
    window: int | str | None,
    mixture: Mixture | None,
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
    fixed = spec.scaling.superblock_steps
    return cut_stream(
        rows=total,
        batch=batch,
        lanes=lanes,
        window_rows=rows,
        window_is_order=window is not None,
        superblock_steps=None if fixed == "auto" else fixed,
        most_superblock_steps=max(
            1, min(MOST_SUPERBLOCK_STEPS, int(SUPERBLOCK_BYTES / (row_bytes * batch)))
        ),
    )


def _samples(index: DatasetIndex, counting: Counting | None, mixture: Mixture | None) -> int:
    """Samples in an epoch: as many as one pass over each source gives."""
    if counting is None:
        return index.rows
    units = counting.fragment_units(index)
    sources = mixture.sources if mixture else ()
    parts = [units[source.start : source.stop] for source in sources] or [units]
    return sum(-(-int(part.sum()) // counting.length) for part in parts)
