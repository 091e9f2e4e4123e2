"""Parquet as a source: indexed from its footers, nothing else is read."""

import glob
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.errors import DataError
from orchestrator.plan import index as plan

# What Arrow raises for a file that is damaged or not what it says.
DAMAGED = (pa.ArrowException, FileNotFoundError, EOFError, OverflowError, UnicodeDecodeError)


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
        except DAMAGED as error:
            raise DataError(f"{file}: its footer is damaged: {error}") from error
    if schema is None or not fragments:
        raise DataError(f"{where}: no rows in {len(files)} file(s) of {', '.join(paths)}")
    indexed = tuple(
        plan.Column(name=field.name, dtype=str(field.type), has_nulls=field.name in with_nulls)
        for field in schema
    )
    return plan.DatasetIndex(fragments=tuple(fragments), columns=indexed)


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
    except (*DAMAGED, OSError) as error:
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
