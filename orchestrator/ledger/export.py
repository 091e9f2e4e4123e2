"""The ledger as a Parquet file, a line for each sample trained and each row left out."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.checkpoint.files import storage_errors, sync
from orchestrator.ledger.chain import Chain, Chunk, read_chain
from orchestrator.ledger.lines import Lines, lines_of
from orchestrator.ledger.replay import Replay, walk
from orchestrator.ledger.run_order import RunOrder, read_order
from orchestrator.plan.origins import Rows

SCHEMA = pa.schema(
    [
        ("attempt", pa.int32()),
        ("epoch", pa.int32()),
        ("step", pa.int64()),
        ("rank", pa.int32()),
        ("row", pa.int64()),
        ("part", pa.int32()),
        ("status", pa.string()),
        ("effective", pa.bool_()),
    ]
)
# Of packed samples each line is a span of tokens.
SPAN_FIELDS = (pa.field("start", pa.int32()), pa.field("stop", pa.int32()))

_GROUP_LINES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The lines of a table, and the chunks that are not in it, being of another order."""

    lines: int
    left_out: tuple[str, ...]


def export_ledger(run_dir: Path, file: Path) -> Exported:
    """Writes the ledger of a run.

    Raises:
        LedgerError: the ledger is not whole, or does not say what the order says.
        CheckpointError: the file cannot be written.
    """
    run, chain = read_order(run_dir), read_chain(run_dir)
    fitting = [chunk for chunk in chain.others if Replay(run, chunk.header).misfit() is None]
    left_out = tuple(chunk.shown for chunk in chain.others if chunk not in fitting)
    packed = run.accounts is not None and run.accounts.packed
    schema = pa.schema([*SCHEMA, *SPAN_FIELDS]) if packed else SCHEMA
    staged = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    lines = 0
    with storage_errors("write", file):
        try:
            with pq.ParquetWriter(staged, schema) as writer:
                for table in _groups(_tables(run, chain, fitting, schema)):
                    writer.write_table(table, row_group_size=table.num_rows)
                    lines += table.num_rows
            sync(staged)
            staged.replace(file)
        finally:
            staged.unlink(missing_ok=True)
    return Exported(lines=lines, left_out=left_out)


def _groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The tables, joined to row groups of a good size."""
    held: list[pa.Table] = []
    lines = 0
    for table in tables:
        held.append(table)
        lines += table.num_rows
        if lines >= _GROUP_LINES:
            yield pa.concat_tables(held).combine_chunks()
            held, lines = [], 0
    if held:
        yield pa.concat_tables(held).combine_chunks()


def _tables(
    run: RunOrder, chain: Chain, others: Sequence[Chunk], schema: pa.Schema
) -> Iterator[pa.Table]:
    """What counts, in the order of the steps, then what was left out, then what does not count."""
    for chunk in (*chain.earlier, *chain.effective):
        yield from _used(run, chunk, schema, effective=True)
    if run.accounts is not None:
        rows = np.flatnonzero(run.accounts.counts == 0)
        filtered = _without_steps(np.setdiff1d(rows, run.quarantined))
        quarantined = _without_steps(run.quarantined)
        for epoch in range(chain.steps // run.steps_per_epoch):
            yield _table(schema, filtered, epoch=epoch, status="filtered", effective=True)
            yield _table(schema, quarantined, epoch=epoch, status="quarantined", effective=True)
    for chunk in others:
        yield from _used(run, chunk, schema, effective=False)


def _without_steps(rows: Rows) -> Lines:
    return Lines(row=rows, part=np.zeros(len(rows), dtype=np.int32))


def _used(run: RunOrder, chunk: Chunk, schema: pa.Schema, *, effective: bool) -> Iterator[pa.Table]:
    for step in walk(run, chunk):
        for rank, share in enumerate(step.shares):
            yield _table(
                schema,
                lines_of(share),
                attempt=chunk.header.attempt,
                epoch=step.epoch,
                step=step.step + 1,
                rank=rank,
                status="skipped" if step.skipped else "used",
                effective=effective,
            )


def _table(schema: pa.Schema, lines: Lines, **same: int | str | bool) -> pa.Table:
    """Lines with what is the same for all of them; what is not given is null."""
    columns = {"row": lines.row, "part": lines.part, "start": lines.start, "stop": lines.stop}
    arrays = []
    for field in schema:
        values = columns.get(field.name)
        if values is not None:
            arrays.append(pa.array(values, type=field.type))
        elif field.name in same:
            arrays.append(pa.repeat(pa.scalar(same[field.name], type=field.type), len(lines)))
        else:
            arrays.append(pa.nulls(len(lines), type=field.type))
    return pa.table(arrays, schema=schema)
