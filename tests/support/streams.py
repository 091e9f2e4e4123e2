"""Streams without Ray: readers run in this process, and blocks are dealt out as Ray does it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from orchestrator.data.feed import Feed, LocalBatch
from orchestrator.data.reader import MapStage, ReadStage, StageTask
from orchestrator.plan.origins import join_origins
from orchestrator.plan.stream import StreamPlan

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
    span = range(geometry.superblock_of(first), last)
    # Block i goes to rank i mod workers.
    blocks = list(blocks_of(stream, workers, span, root=root))
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


def global_batches(
    stream: StreamPlan, workers: int, *, step: int = 0, total: int, root: Path
) -> list[Batch]:
    """The global batches from a step on: epoch, step, columns and origins over all ranks."""
    batches = []
    for shares in zip(*feeds(stream, workers, step=step, total=total, root=root), strict=True):
        assert len({(share.epoch, share.step, share.global_rows) for share in shares}) == 1
        assert sum(len(share.rows) for share in shares) == shares[0].global_rows
        origins = join_origins([share.origins for share in shares])
        columns: dict[str, list[object]] = {
            name: values.tolist() for name, values in origins.columns().items()
        }
        for name in shares[0].columns:
            columns[name] = [
                value
                for share in shares
                for value in share.columns[name][: len(share.rows)].tolist()
            ]
        batches.append((shares[0].epoch, shares[0].step, columns))
    return batches
