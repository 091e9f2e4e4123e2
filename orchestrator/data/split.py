"""How Ray hands the blocks of a stream to the workers: strictly in turn, none dropped."""

from collections.abc import Iterable, Mapping

import pyarrow as pa
from ray.actor import ActorHandle
from ray.data import DataIterator, Dataset
from ray.train import DataConfig

from orchestrator.plan.stream import StreamPlan


class ExactDataConfig(DataConfig):
    """Splits each stream block by block, without equalising: block i goes to rank i mod workers.

    Ray Train's own configuration splits with `equal=True`, which drops rows and breaks the order.
    """

    def configure(
        self,
        datasets: Mapping[str, Dataset],
        world_size: int,
        worker_handles: list[ActorHandle[object]] | None,
        worker_node_ids: list[str] | None,
        **kwargs: object,
    ) -> list[dict[str, DataIterator]]:
        """Called by Ray on its controller, once for each group of workers."""
        splits = {
            name: dataset.streaming_split(world_size, equal=False)
            for name, dataset in datasets.items()
        }
        return [
            {name: shards[rank] for name, shards in splits.items()} for rank in range(world_size)
        ]


def take_blocks(shard: DataIterator, stream: StreamPlan) -> Iterable[pa.Table]:
    """A rank's blocks in the order in which Ray's splitter gave them, fetched ahead."""
    return shard.iter_batches(
        # A block as it is, which Ray's hint of the type forgets: cutting it into batches is the
        # feed's work, without a copy.
        batch_size=None,  # type: ignore[arg-type]
        batch_format="pyarrow",
        # Ray opens blocks in as many threads as it fetches ahead, and puts them back in order only
        # where the stream keeps its order. In one thread none overtakes another.
        prefetch_batches=1 if stream.relaxed else stream.prefetch_blocks,
    )
