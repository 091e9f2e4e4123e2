"""How Ray hands the blocks of a stream to the workers: strictly in turn, none dropped.

All that we use of Ray's splitter beyond its public names is in this file (Ray 2.60).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import ray
from ray import ObjectRef
from ray.actor import ActorHandle, ActorMethod
from ray.data import DataIterator, Dataset
from ray.data._internal.iterator.stream_split_iterator import StreamSplitDataIterator

from orchestrator.plan.stream import StreamPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitStream:
    """A stream and its readers, one for each training worker; ends with `end_stream`."""

    readers: Sequence[DataIterator]
    coordinator: ActorHandle[object]


def split_stream(dataset: Dataset, workers: int, *, at_once: bool) -> SplitStream:
    """Splits a stream block by block, without equalising: block i goes to rank i mod workers.

    Ray Train's own configuration splits with `equal=True`, which drops rows and breaks the order.

    Args:
        at_once: whether it begins to flow now, before the workers that read it are there; otherwise
            it begins when all of them ask for it. Each reader may then be read once.
    """
    readers = dataset.streaming_split(workers, equal=False)
    coordinator = readers[0]._coord_actor  # type: ignore[attr-defined] # of Ray's own iterator
    if at_once:
        # What each reader would ask first; Ray begins when it has been asked by all. To the reader
        # what answers is no actor, but has the methods that it calls.
        asked = [coordinator.start_epoch.remote(rank) for rank in range(workers)]
        readers = [
            StreamSplitDataIterator(_Begun(coordinator, epoch), rank, workers)  # type: ignore[arg-type] # Ray's hint
            for rank, epoch in enumerate(asked)
        ]
    return SplitStream(readers=readers, coordinator=coordinator)


def take_blocks(shard: DataIterator, stream: StreamPlan) -> Iterable[pa.Table]:
    """A rank's blocks in the order in which Ray's splitter gave them, fetched ahead."""
    return shard.iter_batches(
        # A block as it is, which Ray's hint of the type forgets: cutting it into batches is the
        # feed's work, without a copy.
        batch_size=None,  # type: ignore[arg-type] # Ray's hint
        batch_format="pyarrow",
        # Ray opens blocks in as many threads as it fetches ahead, and puts them back in order only
        # where the stream keeps its order. In one thread none overtakes another.
        prefetch_batches=1 if stream.relaxed else stream.prefetch_blocks,
    )


def end_stream(stream: SplitStream) -> None:
    """Ends what carries a stream, with its preprocessing workers."""
    ray.kill(stream.coordinator)


class _Answered:
    """A call that has been made already."""

    def __init__(self, answer: ObjectRef[object]) -> None:
        self._answer = answer

    def remote(self, *arguments: object) -> ObjectRef[object]:
        del arguments
        return self._answer


class _Begun:
    """Ray's coordinator of a stream that has begun: it is not asked for that a second time."""

    def __init__(self, coordinator: ActorHandle[object], epoch: ObjectRef[object]) -> None:
        self._coordinator = coordinator
        self.start_epoch = _Answered(epoch)

    @property
    def get(self) -> ActorMethod:
        return self._coordinator.get

    @property
    def get_dataset_context(self) -> ActorMethod:
        return self._coordinator.get_dataset_context

    @property
    def get_dataset_tag(self) -> ActorMethod:
        return self._coordinator.get_dataset_tag

    @property
    def notify_split_finished(self) -> ActorMethod:
        return self._coordinator.notify_split_finished
