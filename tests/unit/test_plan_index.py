"""The index: rows numbered through all fragments."""

import pytest

from tests.support.plans import make_index


@pytest.mark.parametrize(
    ("row", "fragment", "place"), [(0, 1, 0), (2, 1, 2), (3, 4, 0), (7, 4, 4), (8, 6, 0)]
)
def test_a_row_is_found_past_empty_fragments(row: int, fragment: int, place: int) -> None:
    index = make_index((0, 3, 0, 0, 5, 0, 1, 0))
    found, inside = index.locate(row)
    assert (found, inside) == (index.fragments[fragment], place)


def test_sizes_are_summed_up() -> None:
    index = make_index((40, 30), row_bytes=16)
    assert (index.rows, index.files, index.bytes, index.bytes_per_row) == (70, 2, 1120, 16.0)
    assert index.first_rows.tolist() == [0, 40]
