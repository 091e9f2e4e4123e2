"""A block of a stream: a rank's share of one superblock, with the origins of its samples."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from orchestrator.data.codec import Columns, decode, encode
from orchestrator.errors import DataError
from orchestrator.plan.origins import Origins

# The columns of a block. It has one row: a rank's share of a superblock, step after step.
SUPERBLOCK, RANK, PAYLOAD = "superblock", "rank", "rows"
# The columns, inside the payload, under which the origins travel: those that the stream has.
ORIGIN_COLUMNS = {"rows": "_row", "parts": "_part", "passes": "_pass", "spans": "_spans"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """What a block holds; the columns are views of it, not copies."""

    superblock: int
    rank: int
    columns: Columns
    origins: Origins


def make_block(share: Share) -> pa.Table:
    """The block of a share.

    Raises:
        DataError: a column cannot be sent, or has a name that is ours.
    """
    if taken := ORIGIN_COLUMNS.values() & share.columns.keys():
        name = min(taken)
        raise DataError(f"the column name {name!r} is taken: each row's origin travels under it")
    origins = {ORIGIN_COLUMNS[name]: value for name, value in share.origins.columns().items()}
    payload = encode({**share.columns, **origins})
    return pa.table({SUPERBLOCK: [share.superblock], RANK: [share.rank], PAYLOAD: payload})


def open_block(block: pa.Table) -> Iterator[Share]:
    """The share in each row of a block."""
    for index in range(block.num_rows):
        columns = decode(block[PAYLOAD].slice(index, 1).chunk(0))
        found = {name: columns.pop(column, None) for name, column in ORIGIN_COLUMNS.items()}
        rows, parts, passes, spans = (found[name] for name in ("rows", "parts", "passes", "spans"))
        if rows is None:
            raise DataError("a block of the stream does not say which rows it holds")
        yield Share(
            superblock=block[SUPERBLOCK][index].as_py(),
            rank=block[RANK][index].as_py(),
            columns=columns,
            # Views: their types are these already.
            origins=Origins(
                rows=rows.astype(np.int64, copy=False),
                parts=None if parts is None else parts.astype(np.int32, copy=False),
                passes=None if passes is None else passes.astype(np.int32, copy=False),
                spans=None if spans is None else spans.astype(np.object_, copy=False),
            ),
        )


def gather_blocks(blocks: Sequence[pa.Table]) -> pa.Table:
    """The blocks of a superblock, one a rank, the first rank first, as a single one of one row."""
    # A column a rank: the payloads are not copied, as the entries of a list would be.
    payloads = {f"{PAYLOAD} {rank}": block[PAYLOAD] for rank, block in enumerate(blocks)}
    return pa.table({SUPERBLOCK: blocks[0][SUPERBLOCK], **payloads})


def share_out(gathered: pa.Table) -> Iterator[pa.Table]:
    """The blocks that were gathered, the first rank's first."""
    for rank in range(gathered.num_columns - 1):
        yield pa.table(
            {
                SUPERBLOCK: gathered[SUPERBLOCK],
                RANK: [rank],
                PAYLOAD: gathered[f"{PAYLOAD} {rank}"],
            }
        )
