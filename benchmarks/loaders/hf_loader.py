"""Hugging Face datasets: Parquet streamed as Arrow, mapped, shuffled, and fetched by torch workers.

All stays in Arrow's format until a worker sends it: the same steps with numpy's or torch's format
go row by row, at a tenth of the speed. So does a buffer that is filled from several shards at once.
"""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from benchmarks.harness.drain import drain
from benchmarks.harness.repeat import Reading
from benchmarks.harness.symbols import find
from benchmarks.loaders.torch_loader import SharedColumns, Tensors, cut_tensors
from benchmarks.loaders.windows import Columns, count_rows, to_arrays
from orchestrator.data.memory import keep_freed_memory

# Nothing here is on the hub.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
import datasets

# Rows of one call of the function: few enough for a core's cache.
_CHUNK = 8_192
# Batches that travel together; the consumer cuts them.
_TOGETHER = 64


def load(
    data: str, work: str, *, batch: int, workers: int, mixed_rows: int, epochs: int
) -> Iterator[Tensors]:
    """All batches; a row group is a shard, and rows are mixed in a buffer of so many."""
    files = sorted(map(str, Path(data).glob("*.parquet")))
    dataset = (
        datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)
        .reshard()
        .repeat(epochs)
        .with_format("arrow")
        .map(partial(_preprocess, work=work), batched=True, batch_size=_CHUNK)
        .shuffle(seed=0, buffer_size=mixed_rows, max_buffer_input_shards=1)
        .batch(_TOGETHER * batch)
    )
    loader: DataLoader[Tensors] = DataLoader(
        dataset,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=2,
        collate_fn=_to_shared,
        worker_init_fn=_start,
    )
    for columns in loader:
        yield from cut_tensors(columns, batch)


def run(
    *, data: str, work: str, batch: int, key: str, workers: int, mixed_rows: int, epochs: int
) -> Reading:
    """One repetition."""
    batches = load(data, work, batch=batch, workers=workers, mixed_rows=mixed_rows, epochs=epochs)
    return drain(batches, rows=count_rows(data) * epochs, key=key)


def _start(worker: int) -> None:
    del worker
    keep_freed_memory()


def _preprocess(rows: pa.Table, work: str) -> pa.Table:
    columns = cast("Columns", find(work)(to_arrays(rows)))
    return pa.table({name: _to_arrow(column) for name, column in columns.items()})


def _to_arrow(column: NDArray[np.generic]) -> pa.Array:
    flat = pa.array(column.reshape(-1))
    if column.ndim == 1:
        return flat
    return pa.FixedSizeListArray.from_arrays(flat, column.shape[1])


def _to_shared(row: pa.Table) -> Tensors:
    """A row whose values are lists of many rows, in memory that the consumer can map."""
    shared = SharedColumns()
    for name in row.column_names:
        column = row[name].combine_chunks().flatten()
        width = column.type.list_size if pa.types.is_fixed_size_list(column.type) else None
        values = (column.flatten() if width else column).to_numpy(zero_copy_only=True)
        made = values.reshape(-1, width) if width else values
        np.copyto(shared(name, made.shape, made.dtype), made)
    return shared.tensors
