"""WebDataset: tar shards of chunks, torch workers that preprocess and mix them, batches cut late.

A sample is a chunk of rows, since one row a sample would be all overhead. The library's own stages
would take the rows out one by one again; a stage of a few lines does the same on whole arrays.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import webdataset as wds

from benchmarks.harness.drain import drain
from benchmarks.harness.repeat import Reading
from benchmarks.harness.symbols import find
from benchmarks.loaders.torch_loader import SharedColumns, Tensors, cut_tensors
from benchmarks.loaders.windows import Columns, count_rows, to_arrays
from orchestrator.data.memory import keep_freed_memory

# Rows of a sample: few enough for a core's cache.
_CHUNK = 8_192


def write_shards(data: str) -> Path:
    """A tar file for each row group, beside the data. Written once: what is there is kept."""
    source = Path(data)
    target = source.with_name(f"{source.name}-webdataset")
    if target.exists():
        return target
    staging = source.with_name(f"{target.name}.part")
    staging.mkdir(exist_ok=True)
    files = [pq.ParquetFile(path) for path in sorted(source.glob("*.parquet"))]
    groups = [(file, group) for file in files for group in range(file.num_row_groups)]
    for number, (file, group) in enumerate(groups):
        with wds.TarWriter(str(staging / f"{number:05}.tar")) as shard:
            for start, chunk in enumerate(file.read_row_group(group).to_batches(_CHUNK)):
                sink = pa.BufferOutputStream()
                with pa.ipc.new_stream(sink, chunk.schema) as stream:
                    stream.write_batch(chunk)
                key = f"{number:05}-{start:05}"
                shard.write({"__key__": key, "arrow": sink.getvalue().to_pybytes()})
    staging.rename(target)
    return target


def load(
    shards: Path, work: str, *, batch: int, workers: int, mixed: int, epochs: int
) -> Iterator[Tensors]:
    """All batches; rows are mixed among `mixed` chunks."""
    rng = np.random.default_rng(0)
    files = sorted(map(str, shards.glob("*.tar")))
    # All epochs in one list, so that there is no pause between them.
    urls = [files[place] for _ in range(epochs) for place in rng.permutation(len(files))]
    dataset = (
        wds.WebDataset(urls, shardshuffle=False)
        .decode(wds.handle_extension("arrow", _read_chunk))
        .to_tuple("arrow")
        .map_tuple(find(work))
        .compose(partial(_mix, mixed=mixed))
    )
    loader = wds.WebLoader(dataset, batch_size=None, num_workers=workers, prefetch_factor=2)
    for columns in loader:
        yield from cut_tensors(columns, batch)


def run(
    *, data: str, work: str, batch: int, key: str, workers: int, mixed_rows: int, epochs: int
) -> Reading:
    """One repetition."""
    batches = load(
        write_shards(data),
        work,
        batch=batch,
        workers=workers,
        mixed=-(-mixed_rows // _CHUNK),
        epochs=epochs,
    )
    return drain(batches, rows=count_rows(data) * epochs, key=key)


def _read_chunk(data: bytes) -> Columns:
    return to_arrays(pa.ipc.open_stream(data).read_all())


def _mix(chunks: Iterable[tuple[Columns]], mixed: int) -> Iterator[Tensors]:
    """The rows of so many chunks in a random order, in memory that the consumer can map."""
    keep_freed_memory()
    rest, rng = iter(chunks), np.random.default_rng()
    while some := list(islice(rest, mixed)):
        whole = {name: np.concatenate([chunk[name] for (chunk,) in some]) for name in some[0][0]}
        order = rng.permutation(len(next(iter(whole.values()))))
        shared = SharedColumns()
        for name, column in whole.items():
            out = shared(name, column.shape, column.dtype)
            np.take(column, order, axis=0, out=out, mode="clip")
        yield shared.tensors
