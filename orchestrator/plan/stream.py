"""The plans of streams: what is read, in which order, cut how, by which workers."""

from dataclasses import dataclass

from orchestrator.plan.geometry import StreamGeometry, cut_stream, default_lanes
from orchestrator.plan.index import DatasetIndex
from orchestrator.plan.order import SampleOrder
from orchestrator.plan.resources import ClusterCapacity, auto_workers, job_resources
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

    `epochs_differ` is true for training; every pass over the validation rows is the same. `relaxed`
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
    relaxed: bool = False

    def sample_order(self) -> SampleOrder:
        """The order of the rows, as arithmetic."""
        return SampleOrder(
            self.index.fragment_rows,
            window_rows=self.geometry.window_steps * self.geometry.batch,
            seed=self.seed,
            shuffle_fragments=self.shuffle_fragments,
            shuffle_rows=self.shuffle_rows,
        )

    @property
    def transforms(self) -> tuple[TransformSpec, ...]:
        """The transforms of all stages, in order."""
        return tuple(transform for stage in self.stages for transform in stage.transforms)

    @property
    def window_bytes(self) -> int:
        """Bytes of the source columns in one window, which one task reads."""
        steps, batch = self.geometry.window_steps, self.geometry.batch
        return int(self.index.bytes_per_row * min(steps * batch, self.index.rows))

    @property
    def superblock_bytes(self) -> int:
        """Bytes of the source columns in one superblock, as they are before any transform."""
        steps, batch = self.geometry.superblock_steps, self.geometry.batch
        return int(self.index.bytes_per_row * min(steps * batch, self.index.rows))


def plan_streams(
    spec: JobSpec,
    train: DatasetIndex,
    validation: DatasetIndex | None,
    capacity: ClusterCapacity,
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
    streams: dict[Split, StreamPlan] = {}
    streams["train"] = StreamPlan(
        split="train",
        index=train,
        geometry=_geometry(spec, train, shuffle.rows if shuffle.type == "window" else None),
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
        relaxed=relaxed,
    )
    if validation is not None:
        streams["validation"] = StreamPlan(
            split="validation",
            index=validation,
            geometry=_geometry(spec, validation, None),
            stages=kept,
            seed=spec.seed,
            shuffle_fragments=False,
            shuffle_rows=False,
            epochs_differ=False,
        )
    return streams


def _geometry(spec: JobSpec, index: DatasetIndex, window: int | str | None) -> StreamGeometry:
    """The cuts of a stream; `window` None is for one whose rows are not permuted in windows."""
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
        window_is_order=window is not None,
        superblock_steps=None if fixed == "auto" else fixed,
        most_superblock_steps=max(
            1, min(MOST_SUPERBLOCK_STEPS, int(SUPERBLOCK_BYTES / (row_bytes * batch)))
        ),
    )
