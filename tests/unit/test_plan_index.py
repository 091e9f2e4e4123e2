"""The index: rows numbered through all fragments."""

from tests.support.plans import make_index


def test_sizes_are_summed_up() -> None:
    index = make_index((40, 30), row_bytes=16)
    assert (index.rows, index.files, index.bytes, index.bytes_per_row) == (70, 2, 1120, 16.0)
