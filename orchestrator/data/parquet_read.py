"""Parquet as a source: row groups to numpy columns, of the same types whichever rows are read."""

import logging
import time
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestrator.data.codec import Column, Columns
from orchestrator.data.parquet_index import DAMAGED
from orchestrator.data.parquet_types import logical_type, to_logical
from orchestrator.errors import DataError
from orchestrator.plan import index as plan
from orchestrator.plan.order import Piece

_CHANGED = "the file changed after the run was planned"
# Seconds between the tries to read a row group when the storage fails.
_RETRY_PAUSES_S = (0.5, 2.0, 8.0)


class UnreadableError(DataError):
    """The bytes of rows make no sense: reading them again gives the same."""


_log = logging.getLogger(__name__)


def read_pieces(index: plan.DatasetIndex, pieces: Iterable[Piece]) -> Columns:
    """The rows of the pieces, end to end, as numpy columns.

    Raises:
        DataError: a file that changed or was damaged since it was indexed.
        OSError: the storage failed, and went on failing.
    """
    tables = []
    # Once each: a small source that is mixed with a large one comes several times in a window.
    read: dict[int, pa.Table] = {}
    for piece in pieces:
        if piece.fragment not in read:
            fragment = index.fragments[piece.fragment]
            read[piece.fragment] = _row_group_retried(fragment, index.columns)
        tables.append(read[piece.fragment].slice(piece.start, piece.stop - piece.start))
    where = ", ".join(dict.fromkeys(index.fragments[number].path for number in read))
    return {
        column.name: _gather([table[column.name] for table in tables], column, where=where)
        for column in index.columns
    }


def _row_group_retried(fragment: plan.Fragment, columns: Sequence[plan.Column]) -> pa.Table:
    for pause in _RETRY_PAUSES_S:
        try:
            return _row_group(fragment, columns)
        except OSError as error:
            if isinstance(error, PermissionError):
                raise
            _log.warning("%s: %s; trying again in %.1f s", fragment.path, error, pause)
            time.sleep(pause)
    return _row_group(fragment, columns)


def _row_group(fragment: plan.Fragment, columns: Sequence[plan.Column]) -> pa.Table:
    where = f"{fragment.path}: row group {fragment.row_group}"
    names = [column.name for column in columns]
    try:
        with pq.ParquetFile(fragment.path) as file:
            if fragment.row_group >= file.num_row_groups:
                raise DataError(f"{where} is gone: {_CHANGED}")
            table = file.read_row_group(fragment.row_group, columns=names, use_threads=False)
    except (FileNotFoundError, MemoryError) as error:
        raise DataError(f"{where} cannot be read: {error}") from error
    except DAMAGED as error:
        raise UnreadableError(f"{where} cannot be read: {error}") from error
    except OSError as error:
        # Arrow has no other type for bytes that make no sense; storage that fails has a number.
        if error.errno is not None:
            raise
        raise UnreadableError(f"{where} cannot be read: {error}") from error
    if table.num_rows != fragment.rows:
        raise DataError(
            f"{where} has {table.num_rows} rows, the index says {fragment.rows}: {_CHANGED}"
        )
    for column in columns:
        if column.name not in table.schema.names:
            raise DataError(f"{where} has no column {column.name!r}: {_CHANGED}")
        values = table[column.name]
        if str(logical_type(values.type)) != column.dtype:
            raise DataError(
                f"{where}: column {column.name!r} is {logical_type(values.type)}, the index says"
                f" {column.dtype}: {_CHANGED}"
            )
        if values.null_count and not column.has_nulls:
            raise DataError(
                f"{where}: column {column.name!r} has gaps, the index says it has none: {_CHANGED}"
            )
    return table


def _gather(parts: Sequence[pa.ChunkedArray], column: plan.Column, *, where: str) -> Column:
    try:
        # Not as tables: two files may differ in what they promise about gaps, and such do not join.
        # To logical types first: as they are, numpy would take any entry of a dictionary for a gap.
        plain = [to_logical(part) for part in parts]
        values = pa.chunked_array([chunk for part in plain for chunk in part.chunks], plain[0].type)
        return _to_numpy(values, column)
    except DAMAGED as error:
        raise UnreadableError(
            f"{where}: column {column.name!r} of {column.dtype} cannot be read: {error}"
        ) from error


def _to_numpy(values: pa.ChunkedArray, column: plan.Column) -> Column:
    # What an array becomes must not depend on whether a gap is among the rows at hand: gaps
    # anywhere make whole numbers floating point everywhere (see plan.index.Column).
    kind = values.type
    if pa.types.is_fixed_size_list(kind) and _is_number(kind.value_type):
        return _vectors(values, column)
    if column.has_nulls and pa.types.is_integer(kind):
        values = values.cast(pa.float64(), safe=False)
    if column.has_nulls and pa.types.is_boolean(kind):
        values = values.cast(pa.float32())
    if pa.types.is_floating(values.type) and values.null_count:
        # Arrow's own way to numpy fills gaps, too, but takes five times as long.
        values = pc.fill_null(values, pa.scalar(np.nan, values.type))
    return np.asarray(values.to_numpy())


def _vectors(values: pa.ChunkedArray, column: plan.Column) -> Column:
    """Lists of a fixed length as rows of one array; a missing list is a row of NaN."""
    width = values.type.list_size
    # Without the entries of missing lists, whatever they are.
    flat = pa.chunked_array([chunk.flatten() for chunk in values.chunks], values.type.value_type)
    entries = _to_numpy(flat, plan.Column(name="", dtype="", has_nulls=column.has_nulls))
    rows = len(values) - values.null_count
    if rows == len(values):
        return entries.reshape(rows, width)
    every = np.full((len(values), width), np.nan, dtype=entries.dtype)
    every[np.asarray(values.is_valid().to_numpy(), dtype=bool)] = entries.reshape(rows, width)
    return every


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )
