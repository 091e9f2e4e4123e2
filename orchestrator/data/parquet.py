"""Parquet as a source: indexed from its footers, read row group by row group."""

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.data.codec import Column, Columns
from orchestrator.errors import DataError
from orchestrator.plan import index as plan
from orchestrator.plan.order import Piece


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
    fragments: list[plan.Fragment] = []
    schema: pa.Schema | None = None
    with_nulls: set[str] = set()
    for file in files:
        footer = _footer(file)
        found = _wanted_schema(footer.schema.to_arrow_schema(), columns, file=file, where=where)
        if schema is None:
            schema = found
        _check_same(schema, found, first=files[0], file=file)
        for group in range(footer.num_row_groups):
            meta = footer.row_group(group)
            with_nulls |= _columns_with_nulls(meta)
            if meta.num_rows:
                size = _bytes_of(meta, schema.names)
                fragments.append(
                    plan.Fragment(path=str(file), row_group=group, rows=meta.num_rows, bytes=size)
                )
    if schema is None or not fragments:
        raise DataError(f"{where}: no rows in {len(files)} file(s) of {', '.join(paths)}")
    described = tuple(
        plan.Column(name=field.name, dtype=str(field.type), has_nulls=field.name in with_nulls)
        for field in schema
    )
    return plan.DatasetIndex(fragments=tuple(fragments), columns=described)


def read_pieces(index: plan.DatasetIndex, pieces: Iterable[Piece]) -> Columns:
    """The rows of the pieces, end to end, as numpy columns.

    Raises:
        DataError: a file that changed or was damaged since it was indexed.
        OSError: the storage failed; the task is run again.
    """
    names = [column.name for column in index.columns]
    tables = []
    for piece in pieces:
        fragment = index.fragments[piece.fragment]
        try:
            with pq.ParquetFile(fragment.path) as file:
                table = file.read_row_group(fragment.row_group, columns=names, use_threads=False)
        except (pa.ArrowInvalid, FileNotFoundError) as error:
            raise DataError(
                f"{fragment.path}: row group {fragment.row_group} cannot be read: {error}"
            ) from error
        if table.num_rows != fragment.rows:
            raise DataError(
                f"{fragment.path}: row group {fragment.row_group} has {table.num_rows} rows, the"
                f" index says {fragment.rows}: the file changed after the run was planned"
            )
        tables.append(table.select(names).slice(piece.start, piece.stop - piece.start))
    table = pa.concat_tables(tables)
    return {column.name: _to_numpy(table[column.name], column) for column in index.columns}


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
    files = sorted(Path(match) for match in glob.glob(str(full), recursive=True))
    if not files:
        raise DataError(f"{where}: {full} does not exist and matches no file")
    return [file for file in files if file.is_file()]


def _footer(file: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{file}: not a readable Parquet file: {error}") from error


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


def _columns_with_nulls(group: pq.RowGroupMetaData) -> set[str]:
    """Columns with gaps; without statistics a gap has to be expected."""
    found = set()
    for number in range(group.num_columns):
        column = group.column(number)
        counted = column.is_stats_set and column.statistics.has_null_count
        if not counted or column.statistics.null_count:
            found.add(column.path_in_schema.split(".")[0])
    return found


def _bytes_of(group: pq.RowGroupMetaData, names: Sequence[str]) -> int:
    wanted = set(names)
    columns = (group.column(number) for number in range(group.num_columns))
    return sum(
        column.total_uncompressed_size
        for column in columns
        if column.path_in_schema.split(".")[0] in wanted
    )


def _to_numpy(values: pa.ChunkedArray, column: plan.Column) -> Column:
    array = values.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    kind = array.type
    if pa.types.is_fixed_size_list(kind) and array.null_count == 0:
        flat = array.flatten().to_numpy(zero_copy_only=False)
        return np.asarray(flat).reshape(len(array), kind.list_size)
    if column.has_nulls and pa.types.is_integer(kind):
        # Gaps anywhere make the column floating point everywhere: see plan.index.Column.
        array = array.cast(pa.float64(), safe=False)
    if column.has_nulls and pa.types.is_boolean(kind):
        array = array.cast(pa.float32())
    return np.asarray(array.to_numpy(zero_copy_only=False))
