"""How much of a stream lies in Ray's object store at a time."""

from dataclasses import dataclass

from orchestrator.plan.stream import StreamPlan
from orchestrator.plan.tuning import MeasuredCost

# Blocks of each training worker beside those it fetches ahead: the one in hand, and the one that is
# handed to it.
_HELD_BLOCKS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamMemory:
    """Bytes of a stream in the object store, all training workers together.

    `made` are the windows that readers work on or have finished: each call that is queued at a
    reader may be done before its turn has come, and all blocks of its window then lie there.
    `passed_on` are the blocks that training workers hold or fetch ahead. Until rows have been
    measured, all of it is counted in source bytes, as they are before the transforms: what doubles
    the rows' bytes doubles this.
    """

    made: int
    passed_on: int

    @property
    def total(self) -> int:
        return self.made + self.passed_on


def stream_memory(stream: StreamPlan, cost: MeasuredCost | None = None) -> StreamMemory:
    """What a stream needs in the object store to go on without a pause.

    Args:
        cost: of its rows, once it has been measured.
    """
    grown = cost.row_bytes / stream.bytes_per_row if cost and stream.bytes_per_row else 1.0
    workers = sum(stage.workers[1] for stage in stream.stages)
    # A later stage works on blocks, of which it has one in hand and one made; never more than that.
    readers = stream.stages[0]
    of_readers = readers.workers[1] * readers.tasks_in_flight * stream.window_bytes
    of_others = (workers - readers.workers[1]) * 2 * stream.superblock_bytes
    return StreamMemory(
        made=int((of_readers + of_others) * grown),
        passed_on=int((_HELD_BLOCKS + stream.prefetch_blocks) * stream.superblock_bytes * grown),
    )
