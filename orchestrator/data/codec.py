"""Columns as one cell of a table, and back.

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

# In the cell: all plain columns as one Arrow IPC stream; beside it, by their number, the tensors.
_PLAIN_COLUMNS = "columns"
# In the stream's metadata: the names of all columns, and the tensors' shapes and types.
_NAMES, _TENSORS = b"names", b"tensors"
# Kinds of numpy type whose bytes alone are the value: all but objects and records.
_PLAIN_KINDS = "biufcmMSU"


def encode(columns: Columns) -> pa.StructArray:
    """Columns of equal length as one cell; any numeric shape, strings and bytes.

    Tensors are not copied: nothing may be written into them before the cell is stored.

    Raises:
        DataError: a column of objects, or of a kind of number, that Arrow has no type for.
    """
    plain: dict[str, pa.Array] = {}
    tensors: dict[str, tuple[list[int], str]] = {}
    cells: list[pa.Array] = []
    for name, column in columns.items():
        # Another machine's byte order is a matter of files; neither Arrow nor torch takes it.
        native = column.astype(column.dtype.newbyteorder("="), copy=False)
        try:
            if _is_tensor(native):
                cells.append(_raw(native))
                tensors[name] = (list(native.shape), native.dtype.str)
            else:
                plain[name] = pa.array(native)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise DataError(
                f"column {name!r} of {native.dtype} cannot be sent to the training workers: {error}"
            ) from error
    batch = pa.RecordBatch.from_arrays(list(plain.values()), names=list(plain))
    described = {_NAMES: json.dumps(list(columns)), _TENSORS: json.dumps(tensors)}
    stream = _cell(_to_stream(batch.replace_schema_metadata(described)))
    names = [_PLAIN_COLUMNS, *(str(number) for number in range(len(cells)))]
    return pa.StructArray.from_arrays([stream, *cells], names)


def decode(cell: pa.StructArray) -> Columns:
    """The columns again; numeric ones are read-only views into the cell, nothing is copied.

    Args:
        cell: an array of one cell.
    """
    stream, *raws = (_bytes_of(cell.field(number)) for number in range(cell.type.num_fields))
    with pa.ipc.open_stream(stream) as reader:
        batch = reader.read_next_batch()
    described = batch.schema.metadata
    tensors = {
        name: _tensor(raw, shape, dtype)
        for raw, (name, (shape, dtype)) in zip(
            raws, json.loads(described[_TENSORS]).items(), strict=True
        )
    }
    return {
        name: tensors[name] if name in tensors else batch[name].to_numpy(zero_copy_only=False)
        for name in json.loads(described[_NAMES])
    }


def _is_tensor(column: Column) -> bool:
    """Whether a column travels as its raw bytes: Arrow has no type for it, or would copy it."""
    return column.ndim > 1 or column.dtype.kind == "c"


def _raw(column: Column) -> pa.Array:
    if column.dtype.kind not in _PLAIN_KINDS:
        raise TypeError("more than one dimension needs numbers, or strings of a fixed width")
    # As bytes: Python has no buffers of datetimes.
    return _cell(pa.py_buffer(np.ascontiguousarray(column).reshape(-1).view(np.uint8)))


def _tensor(raw: pa.Buffer, shape: list[int], dtype: str) -> Column:
    column: Column = np.ndarray(shape, dtype, raw if raw.size else None)
    column.flags.writeable = False
    return column


def _cell(data: pa.Buffer) -> pa.Array:
    # Built from the buffer itself: pa.array would copy the bytes once more.
    offsets = pa.py_buffer(np.array([0, data.size], dtype=np.int64))
    return pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, data])


def _bytes_of(cell: pa.Array) -> pa.Buffer:
    # Not as the value of the cell: that would be a copy.
    _, offsets, data = cell.buffers()
    start, stop = np.frombuffer(offsets, np.int64)[cell.offset : cell.offset + 2].tolist()
    return data.slice(start, stop - start)


def _to_stream(batch: pa.RecordBatch) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()
