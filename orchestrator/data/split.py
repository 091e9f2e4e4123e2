"""How Ray hands the blocks of a stream to the workers: strictly in turn, none dropped."""

from collections.abc import Mapping

from ray.actor import ActorHandle
from ray.data import DataIterator, Dataset
from ray.train import DataConfig


class ExactDataConfig(DataConfig):
    """Splits each stream block by block, without equalising.

    Ray Train's own configuration splits with `equal=True`, which drops rows and breaks the order.

    Args:
        first_lanes: for each data set, the number through the whole run of the first lane that the
            stream carries. It turns the splits so that a rank gets the same lanes after a restart.
    """

    def __init__(self, first_lanes: Mapping[str, int]) -> None:
        super().__init__()
        self._first_lanes = dict(first_lanes)

    def configure(
        self,
        datasets: dict[str, Dataset],
        world_size: int,
        worker_handles: list[ActorHandle[object]] | None,
        worker_node_ids: list[str] | None,
        **kwargs: object,
    ) -> list[dict[str, DataIterator]]:
        """Called by Ray on its controller, once for each group of workers."""
        shards: list[dict[str, DataIterator]] = [{} for _ in range(world_size)]
        for name, dataset in datasets.items():
            splits = dataset.streaming_split(world_size, equal=False)
            for position, split in enumerate(splits):
                rank = (self._first_lanes[name] + position) % world_size
                shards[rank][name] = split
        return shards
