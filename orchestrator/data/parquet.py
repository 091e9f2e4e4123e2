"""Parquet as a source: indexed from its footers, read row group by row group."""

import glob
import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.data.codec import Column, Columns
from orchestrator.errors import DataError
from orchestrator.plan import index as plan
from orchestrator.plan.order import Piece

# What Arrow raises for a file that is damaged or not what it says.
_DAMAGED = (pa.ArrowException, FileNotFoundError, EOFError, OverflowError, UnicodeDecodeError)
_CHANGED = "the file changed after the run was planned"
# Seconds between the tries to read a row group when the storage fails.
_RETRY_PAUSES_S = (0.5, 2.0, 8.0)

_log = logging.getLogger(__name__)


def index_parquet(
    paths: Sequence[str], *, root: Path, columns: Sequence[str] | None, where: str
) -> plan.DatasetIndex:
    """Reads the footers of all files and nothing else.

    Args:
        paths: files, folders or globs, relative to `root`; files count in the order of their names.
        columns: the wanted columns, None for all.
        where: the spec's path of this source, for messages.

    Raises:
        DataError: no file, no rows, a damaged file, a missing column, files that do not agree.
    """
    files = [file for path in paths for file in _expand(path, root=root, where=where)]
    for file, count in Counter(file.resolve() for file in files).items():
        if count > 1:
            raise DataError(f"{where}: {file} is named {count} times by {', '.join(paths)}")
    fragments: list[plan.Fragment] = []
    schema: pa.Schema | None = None
    with_nulls: set[str] = set()
    for file in files:
        footer, found = _footer(file)
        found = _wanted_schema(found, columns, file=file, where=where)
        if schema is None:
            schema = found
        _check_same(schema, found, first=files[0], file=file)
        try:
            fragments += _fragments(footer, schema, file=file)
            with_nulls |= _columns_with_nulls(footer, schema.names)
        except _DAMAGED as error:
            raise DataError(f"{file}: its footer is damaged: {error}") from error
    if schema is None or not fragments:
        raise DataError(f"{where}: no rows in {len(files)} file(s) of {', '.join(paths)}")
    indexed = tuple(
        plan.Column(name=field.name, dtype=str(field.type), has_nulls=field.name in with_nulls)
        for field in schema
    )
    return plan.DatasetIndex(fragments=tuple(fragments), columns=indexed)


def read_pieces(index: plan.DatasetIndex, pieces: Iterable[Piece]) -> Columns:
    """The rows of the pieces, end to end, as numpy columns.

    Raises:
        DataError: a file that changed or was damaged since it was indexed.
        OSError: the storage failed, and went on failing.
    """
    tables, paths = [], []
    for piece in pieces:
        fragment = index.fragments[piece.fragment]
        paths.append(fragment.path)
        table = _row_group_retried(fragment, index.columns)
        tables.append(table.slice(piece.start, piece.stop - piece.start))
    where = ", ".join(dict.fromkeys(paths))
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
    except _DAMAGED as error:
        raise DataError(f"{where} cannot be read: {error}") from error
    except OSError as error:
        # Arrow has no other type for bytes that make no sense; storage that fails has a number.
        if error.errno is not None:
            raise
        raise DataError(f"{where} cannot be read: {error}") from error
    if table.num_rows != fragment.rows:
        raise DataError(
            f"{where} has {table.num_rows} rows, the index says {fragment.rows}: {_CHANGED}"
        )
    for column in columns:
        if column.name not in table.schema.names:
            raise DataError(f"{where} has no column {column.name!r}: {_CHANGED}")
        values = table[column.name]
        if str(values.type) != column.dtype:
            raise DataError(
                f"{where}: column {column.name!r} is {values.type}, the index says"
                f" {column.dtype}: {_CHANGED}"
            )
        if values.null_count and not column.has_nulls:
            raise DataError(
                f"{where}: column {column.name!r} has gaps, the index says it has none: {_CHANGED}"
            )
    return table


def _expand(path: str, *, root: Path, where: str) -> list[Path]:
    full = root / path
    if full.is_dir():
        files = sorted(
            file
            for file in full.rglob("*.parquet")
            if not any(part.startswith(("_", ".")) for part in file.relative_to(full).parts)
        )
        if not files:
            raise DataError(f"{where}: the folder {full} holds no *.parquet file")
        return files
    if full.is_file():
        return [full]
    files = sorted(Path(match) for match in glob.glob(str(full), recursive=True))  # noqa: PTH207
    if not files:
        raise DataError(f"{where}: {full} does not exist and matches no file")
    return [file for file in files if file.is_file()]


def _footer(file: Path) -> tuple[pq.FileMetaData, pa.Schema]:
    try:
        footer = pq.read_metadata(file)
        schema = footer.schema.to_arrow_schema()
    except (*_DAMAGED, OSError) as error:
        raise DataError(f"{file}: not a readable Parquet file: {error}") from error
    if len(set(schema.names)) < len(schema.names):
        repeated = next(name for name in schema.names if schema.names.count(name) > 1)
        raise DataError(f"{file} has more than one column {repeated!r}")
    return footer, schema


def _wanted_schema(
    schema: pa.Schema, columns: Sequence[str] | None, *, file: Path, where: str
) -> pa.Schema:
    if columns is None:
        return schema.remove_metadata()
    missing = [name for name in columns if name not in schema.names]
    if missing:
        raise DataError(
            f"{where}: {file} has no column {', '.join(map(repr, missing))};"
            f" it has {', '.join(schema.names)}"
        )
    return pa.schema([schema.field(name) for name in columns])


def _check_same(first_schema: pa.Schema, schema: pa.Schema, *, first: Path, file: Path) -> None:
    if first_schema.equals(schema):
        return
    for field in first_schema:
        if field.name not in schema.names:
            raise DataError(f"{file} has no column {field.name!r}, but {first} has")
        got = schema.field(field.name).type
        if got != field.type:
            raise DataError(f"{file}: column {field.name!r} is {got}, but {field.type} in {first}")
    extra = [name for name in schema.names if name not in first_schema.names]
    if extra:
        raise DataError(
            f"{file} has a column {extra[0]!r} that {first} lacks",
            hint="name the wanted columns in the source's `columns`",
        )


def _fragments(
    footer: pq.FileMetaData, schema: pa.Schema, *, file: Path
) -> Iterator[plan.Fragment]:
    widths = {field.name: _width(field.type) for field in schema}
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        if group.num_rows < 0:
            raise DataError(f"{file}: row group {number} claims {group.num_rows} rows")
        if group.num_rows:
            yield plan.Fragment(
                path=str(file),
                row_group=number,
                rows=group.num_rows,
                bytes=_bytes_in_memory(group, widths),
            )


def _bytes_in_memory(group: pq.RowGroupMetaData, widths: Mapping[str, int | None]) -> int:
    """Bytes of the wanted columns once read.

    The footer knows their size as encoded, where equal values cost next to nothing; for a column of
    fixed width its type tells the true one, for any other the encoded size has to do.
    """
    rows = int(group.num_rows)
    fixed = sum(width * rows for width in widths.values() if width is not None)
    encoded = sum(
        int(leaf.total_uncompressed_size)
        for leaf in _leaves(group)
        if widths.get(_top_level(leaf.path_in_schema, list(widths)), 0) is None
    )
    return fixed + encoded


def _width(kind: pa.DataType) -> int | None:
    """Bytes of one value, None where values differ."""
    if pa.types.is_fixed_size_list(kind):
        inner = _width(kind.value_type)
        return None if inner is None else inner * int(kind.list_size)
    if pa.types.is_primitive(kind):
        return max(1, int(kind.bit_width) // 8)
    if pa.types.is_fixed_size_binary(kind):
        return int(kind.byte_width)
    return None


def _columns_with_nulls(footer: pq.FileMetaData, names: Sequence[str]) -> set[str]:
    """Columns with gaps; without statistics a gap has to be expected."""
    found = set()
    for number in range(footer.num_row_groups):
        for leaf in _leaves(footer.row_group(number)):
            counted = leaf.is_stats_set and leaf.statistics.has_null_count
            if not counted or leaf.statistics.null_count:
                found.add(_top_level(leaf.path_in_schema, names))
    return found


def _leaves(group: pq.RowGroupMetaData) -> Iterator[pq.ColumnChunkMetaData]:
    return (group.column(number) for number in range(group.num_columns))


def _top_level(path: str, names: Sequence[str]) -> str:
    """The column that a leaf belongs to; columns may have dots in their own names."""
    parts = path.split(".")
    prefixes = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in names), parts[0])


def _gather(parts: Sequence[pa.ChunkedArray], column: plan.Column, *, where: str) -> Column:
    # Not as tables: two files may differ in what they promise about gaps, and such do not join.
    values = pa.chunked_array([chunk for part in parts for chunk in part.chunks], parts[0].type)
    try:
        return _to_numpy(values, column)
    except _DAMAGED as error:
        raise DataError(
            f"{where}: column {column.name!r} of {column.dtype} cannot be read: {error}"
        ) from error


def _to_numpy(values: pa.ChunkedArray, column: plan.Column) -> Column:
    # What an array becomes must not depend on whether a gap is among the rows at hand: gaps
    # anywhere make whole numbers floating point everywhere (see plan.index.Column).
    if pa.types.is_dictionary(values.type):
        # Spelled out: as it is, Arrow would take any entry for a gap.
        values = values.cast(values.type.value_type)
    kind = values.type
    if pa.types.is_fixed_size_list(kind) and _is_number(kind.value_type):
        return _vectors(values, column)
    if column.has_nulls and pa.types.is_integer(kind):
        values = values.cast(pa.float64(), safe=False)
    if column.has_nulls and pa.types.is_boolean(kind):
        values = values.cast(pa.float32())
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
