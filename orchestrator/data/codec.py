"""A rank's rows as a single value of a Ray Data block: an Arrow record batch in a binary cell.

A block then always holds exactly one row, whatever its columns are, and Ray handles one column
instead of many: the number of columns, not of bytes, is what its per-block work costs.
"""

import json

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from orchestrator.errors import DataError

Column = NDArray[np.generic] | NDArray[np.object_]
Columns = dict[str, Column]

_SHAPES = b"shapes"
# Kinds of numpy type whose bytes alone are the value: all but objects and records.
_PLAIN = "biufcmMSU"


def encode(columns: Columns) -> pa.Buffer:
    """Columns of equal length as one Arrow IPC stream; any numeric shape, strings and bytes.

    Raises:
        DataError: a column of objects, or of a kind of number, that Arrow has no type for.
    """
    arrays, shapes = [], {}
    for name, column in columns.items():
        # Another machine's byte order is a matter of files; neither Arrow nor torch takes it.
        native = column.astype(column.dtype.newbyteorder("="), copy=False)
        if _is_opaque(native):
            shapes[name] = (list(native.shape[1:]), native.dtype.str)
        try:
            arrays.append(_to_arrow(native))
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise DataError(
                f"column {name!r} of {native.dtype} cannot be sent to the training workers: {error}"
            ) from error
    schema_metadata = {_SHAPES: json.dumps(shapes).encode()}
    batch = pa.RecordBatch.from_arrays(arrays, names=list(columns))
    batch = batch.replace_schema_metadata(schema_metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def decode(buffer: pa.Buffer) -> Columns:
    """The columns again; numeric ones are read-only views into the buffer, nothing is copied."""
    with pa.ipc.open_stream(buffer) as reader:
        batch = reader.read_next_batch()
    shapes = json.loads(batch.schema.metadata[_SHAPES])
    columns: Columns = {}
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        if name in shapes:
            shape, dtype = shapes[name]
            raw = array.buffers()[-1]
            flat = np.frombuffer(raw, dtype=dtype) if raw else np.empty(0, dtype=dtype)
            columns[name] = flat.reshape(batch.num_rows, *shape)
        else:
            columns[name] = array.to_numpy(zero_copy_only=False)
    return columns


def _is_opaque(column: Column) -> bool:
    """Whether a column travels as cells of raw bytes, its type and shape in the metadata."""
    return column.ndim > 1 or column.dtype.kind == "c"


def _to_arrow(column: Column) -> pa.Array:
    if _is_opaque(column):
        if column.dtype.kind not in _PLAIN:
            raise TypeError("more than one dimension needs numbers, or strings of a fixed width")
        raw = np.ascontiguousarray(column)
        width = int(np.prod(raw.shape[1:], dtype=np.int64)) * raw.dtype.itemsize
        if not width:
            return pa.nulls(len(raw))
        return pa.Array.from_buffers(pa.binary(width), len(raw), [None, pa.py_buffer(raw)])
    return pa.array(column)
