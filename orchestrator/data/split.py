"""How Ray hands the blocks of a stream to the workers: strictly in turn, none dropped."""

from collections.abc import Mapping

from ray.actor import ActorHandle
from ray.data import DataIterator, Dataset
from ray.train import DataConfig


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
