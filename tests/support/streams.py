"""A stream in one process: readers and ranks without Ray.

Blocks go to the ranks in turn, as Ray deals them out: block i to rank i mod workers.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from orchestrator.data.blocks import ORIGIN_COLUMNS
from orchestrator.data.feed import Feed, LocalBatch
from orchestrator.data.reader import MapStage, ReadStage, StageTask
from orchestrator.plan.origins import join_origins
from orchestrator.plan.stream import StreamPlan

# A global batch: epoch, step, and all columns over all ranks, the origins among them.
Batch = tuple[int, int, dict[str, list[object]]]


def blocks_of(
    stream: StreamPlan, workers: int, superblocks: range, *, root: Path
) -> Iterator[pa.Table]:
    """All blocks of a stretch, in the order in which Ray delivers them."""
    tasks = [
        StageTask(
            stream=stream, position=place, root=root, workers=workers, superblocks=superblocks
        )
        for place in range(len(stream.stages))
    ]
    read, later = ReadStage(tasks[0]), [MapStage(task) for task in tasks[1:]]
    geometry = stream.geometry
    first = geometry.window_of(superblocks.start)
    for number in range(first, geometry.window_of(superblocks.stop - 1) + 1):
        for block in read({"id": np.array([number - first])}):
            made = block
            for apply in later:
                (made,) = apply(made)
            yield made


def feeds(
    stream: StreamPlan, workers: int, *, step: int, total: int, root: Path
) -> list[list[LocalBatch]]:
    """Each rank's batches from a step of the run to the end."""
    geometry = stream.geometry
    first = geometry.cursor(step)
    last = geometry.superblock_of(geometry.cursor(total - 1)) + 1
    superblocks = range(geometry.superblock_of(first), last)
    blocks = list(blocks_of(stream, workers, superblocks, root=root))
    return [
        list(
            Feed(
                blocks[rank::workers],
                geometry,
                rank=rank,
                workers=workers,
                first=first,
                last_superblock=last,
            )
        )
        for rank in range(workers)
    ]


def run(stream: StreamPlan, workers: int, *, step: int, total: int, root: Path) -> list[Batch]:
    """The global batches from a step on."""
    batches = []
    for shares in zip(*feeds(stream, workers, step=step, total=total, root=root), strict=True):
        assert len({(share.epoch, share.step, share.global_rows) for share in shares}) == 1
        assert sum(len(share.rows) for share in shares) == shares[0].global_rows
        origins = join_origins([share.origins for share in shares]).columns()
        columns: dict[str, list[object]] = {
            ORIGIN_COLUMNS[name].removeprefix("_"): values.tolist()
            for name, values in origins.items()
        }
        for name in shares[0].columns:
            columns[name] = [
                value
                for share in shares
                for value in share.columns[name][: len(share.rows)].tolist()
            ]
        batches.append((shares[0].epoch, shares[0].step, columns))
    return batches
