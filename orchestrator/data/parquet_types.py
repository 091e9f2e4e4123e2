"""Types of Parquet columns as rows see them, whichever way a file stores them."""

import pyarrow as pa


def logical_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values, for comparing files and for reading them.

    Two writers, or one writer on two days, may well store the same values in other ways: as a
    dictionary (whose index grows with the number of categories), with wider offsets, or under
    another name for the entries of a list. None of that is a difference to a row.
    """
    if pa.types.is_dictionary(kind):
        return logical_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(logical_type(kind.value_type), kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(logical_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, logical_type(field.type)) for field in kind])
    return kind


def to_logical(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values of a column in its logical type.

    Raises:
        pyarrow.ArrowException: they do not fit.
    """
    wanted = logical_type(values.type)
    return values if values.type == wanted else values.cast(wanted)


def width_of(kind: pa.DataType) -> int | None:
    """Bytes of one value, None where values differ."""
    if pa.types.is_fixed_size_list(kind):
        inner = width_of(kind.value_type)
        return None if inner is None else inner * int(kind.list_size)
    if pa.types.is_primitive(kind):
        return max(1, int(kind.bit_width) // 8)
    if pa.types.is_fixed_size_binary(kind):
        return int(kind.byte_width)
    return None
