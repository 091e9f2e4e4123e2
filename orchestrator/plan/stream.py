"""The plan of one stream: what is read, in which order, cut how, by which workers."""

from dataclasses import dataclass

from orchestrator.plan.geometry import StreamGeometry
from orchestrator.plan.index import DatasetIndex
from orchestrator.plan.order import SampleOrder
from orchestrator.plan.stages import Stage
from orchestrator.spec.transform import Split


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamPlan:
    """Everything a worker has to know about a stream except where it starts and ends.

    `epochs_differ` is true for training; every pass over the validation rows is the same.
    """

    split: Split
    index: DatasetIndex
    geometry: StreamGeometry
    stages: tuple[Stage, ...]
    seed: int
    shuffle_fragments: bool
    shuffle_rows: bool
    epochs_differ: bool

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
    def superblock_bytes(self) -> int:
        """Bytes of the source columns in one superblock, as they are before any transform."""
        steps, batch = self.geometry.superblock_steps, self.geometry.batch
        return int(self.index.bytes_per_row * min(steps * batch, self.index.rows))
