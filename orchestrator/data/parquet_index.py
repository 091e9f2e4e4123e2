"""Parquet as a source: indexed from its footers, nothing else is read."""

import difflib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.data.parquet_files import list_files
from orchestrator.data.parquet_types import logical_type, width_of
from orchestrator.errors import DataError
from orchestrator.plan import index as plan

# What Arrow raises for a file that is damaged or not what it says.
DAMAGED = (pa.ArrowException, FileNotFoundError, EOFError, OverflowError, UnicodeDecodeError)

# Most footers are shorter, so that one read is enough.
_TAIL_BYTES = 64 << 10
# Hexadecimal digits of a file's digest: 128 bits.
_DIGITS = 32
# Damaged files that a message names.
_SHOWN = 10
_DAMAGED_HINT = (
    "how many rows such a file has is not known, so that they cannot be quarantined: mend it, or"
    " leave it out of the source's `paths`"
)
_DRIFT_HINT = "name the columns that all files have in the source's `columns`"


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
    files = list_files(paths, root=root, where=where)
    fragments: list[plan.Fragment] = []
    sources: list[plan.SourceFile] = []
    first: _Footer | None = None
    with_nulls: set[str] = set()
    for footer in _read_footers(files, where=where):
        file = footer.file
        if not footer.metadata.num_rows:
            # No rows, no matter of what types: those of an empty table are often anybody's guess.
            continue
        footer = replace(footer, schema=_wanted_schema(footer, columns, where=where))
        first = first or footer
        _check_same(first, footer, where=where)
        try:
            fragments += _fragments(footer)
            with_nulls |= _columns_with_nulls(footer)
        except DAMAGED as error:
            raise DataError(f"{where}: {file}: its footer is damaged: {error}") from error
        rows = footer.metadata.num_rows
        sources.append(plan.SourceFile(path=str(file), rows=rows, digest=footer.digest))
    if first is None or not fragments:
        number = f"{len(files)} file{'s' * (len(files) != 1)}"
        raise DataError(f"{where}: no rows in {number} of {', '.join(paths)}")
    indexed = tuple(
        plan.Column(name=field.name, dtype=str(field.type), has_nulls=field.name in with_nulls)
        for field in first.schema
    )
    return plan.DatasetIndex(fragments=tuple(fragments), columns=indexed, sources=tuple(sources))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Footer:
    """What a file says about itself: where its rows are, and of which (logical) types."""

    file: Path
    metadata: pq.FileMetaData
    schema: pa.Schema
    digest: str


def _read_footers(files: Sequence[Path], *, where: str) -> Iterator[_Footer]:
    """The footers of all files.

    Raises:
        DataError: some of them cannot be read; it names all of these, so that they can be mended at
            once.
    """
    damaged: list[DataError] = []
    for file in files:
        try:
            footer = _read_footer(file, where=where)
        except _DamagedFooterError as error:
            damaged.append(error)
            continue
        if not damaged:
            yield footer
    if damaged:
        more = "".join(f"\n{error}" for error in damaged[1:_SHOWN])
        left = len(damaged) - _SHOWN
        rest = f"\nand {left:,} more file{'s' * (left != 1)}" if left > 0 else ""
        raise DataError(f"{damaged[0]}{more}{rest}", hint=_DAMAGED_HINT) from damaged[0]


class _DamagedFooterError(DataError):
    """A file does not say which rows it has."""


def _read_footer(file: Path, *, where: str) -> _Footer:
    """Reads a footer once, so that what is hashed is what is parsed."""
    try:
        content = _footer_bytes(file)
        metadata = pq.read_metadata(pa.BufferReader(content))
        schema = metadata.schema.to_arrow_schema()
    except (*DAMAGED, OSError) as error:
        told = f"{where}: {file}: not a readable Parquet file: {error}"
        raise _DamagedFooterError(told) from error
    if len(set(schema.names)) < len(schema.names):
        repeated = next(name for name in schema.names if schema.names.count(name) > 1)
        raise DataError(f"{where}: {file} has more than one column {repeated!r}")
    return _Footer(
        file=file,
        metadata=metadata,
        schema=pa.schema([(field.name, logical_type(field.type)) for field in schema]),
        # Sizes, places and statistics of every page of values: other content, another footer.
        digest=hashlib.sha256(content).hexdigest()[:_DIGITS],
    )


def _footer_bytes(file: Path) -> bytes:
    """The end of a file, from the footer on, or all that may be a part of it."""
    with file.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        opened.seek(max(0, size - _TAIL_BYTES))
        tail = opened.read()
        length = int.from_bytes(tail[-8:-4], "little") + 8
        if len(tail) < length <= size:
            opened.seek(size - length)
            tail = opened.read()
    return tail[-length:]


def _wanted_schema(footer: _Footer, columns: Sequence[str] | None, *, where: str) -> pa.Schema:
    schema = footer.schema
    if columns is None:
        return schema
    missing = [name for name in columns if name not in schema.names]
    if missing:
        close = difflib.get_close_matches(missing[0], schema.names, n=1)
        question = f"; did you mean {close[0]!r}?" if close else ";"
        raise DataError(
            f"{where}: {footer.file} has no column {', '.join(map(repr, missing))}{question}"
            f" it has {', '.join(schema.names)}"
        )
    return pa.schema([schema.field(name) for name in columns])


def _check_same(first: _Footer, other: _Footer, *, where: str) -> None:
    names = other.schema.names
    for field in first.schema:
        if field.name not in names:
            raise DataError(
                f"{where}: {other.file} has no column {field.name!r}, but {first.file} has",
                hint=_DRIFT_HINT,
            )
        got = other.schema.field(field.name).type
        if got != field.type:
            raise DataError(
                f"{where}: {other.file}: column {field.name!r} is {got}, but {field.type} in"
                f" {first.file}",
                hint=f"write all files with one type, or leave {field.name!r} out of `columns`",
            )
    if extra := [name for name in names if name not in first.schema.names]:
        raise DataError(
            f"{where}: {other.file} has a column {extra[0]!r} that {first.file} lacks",
            hint=_DRIFT_HINT,
        )


def _fragments(footer: _Footer) -> Iterator[plan.Fragment]:
    widths = {field.name: width_of(field.type) for field in footer.schema}
    for number in range(footer.metadata.num_row_groups):
        group = footer.metadata.row_group(number)
        if group.num_rows < 0:
            raise DataError(f"{footer.file}: row group {number} claims {group.num_rows} rows")
        if group.num_rows:
            yield plan.Fragment(
                path=str(footer.file),
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


def _columns_with_nulls(footer: _Footer) -> set[str]:
    """Columns with gaps; without statistics a gap has to be expected."""
    found = set()
    for number in range(footer.metadata.num_row_groups):
        for leaf in _leaves(footer.metadata.row_group(number)):
            counted = leaf.is_stats_set and leaf.statistics.has_null_count
            if not counted or leaf.statistics.null_count:
                found.add(_top_level(leaf.path_in_schema, footer.schema.names))
    return found


def _leaves(group: pq.RowGroupMetaData) -> Iterator[pq.ColumnChunkMetaData]:
    return (group.column(number) for number in range(group.num_columns))


def _top_level(path: str, names: Sequence[str]) -> str:
    """The column that a leaf belongs to; columns may have dots in their own names."""
    parts = path.split(".")
    prefixes = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in names), parts[0])
