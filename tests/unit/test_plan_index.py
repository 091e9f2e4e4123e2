"""The index: rows numbered through all fragments."""

import pytest

from orchestrator.plan.index import Column, DatasetIndex, Fragment
from tests.support.plans import make_index


def test_sizes_are_summed_up() -> None:
    index = make_index((40, 30), row_bytes=16)
    assert (index.rows, index.files, index.bytes, index.bytes_per_row) == (70, 2, 1120, 16.0)


def test_a_row_is_found_in_its_file() -> None:
    # Two row groups, an empty file, one more file.
    parts = [("a", 0, 3), ("a", 1, 4), ("b", 0, 0), ("c", 0, 2)]
    index = DatasetIndex(
        fragments=tuple(
            Fragment(path=path, row_group=group, rows=rows, bytes=0) for path, group, rows in parts
        ),
        columns=(Column(name="id", dtype="int64", has_nulls=False),),
    )
    places = [("a", row) for row in range(7)] + [("c", 0), ("c", 1)]
    assert [index.locate(row) for row in range(9)] == places
    for outside in (-1, 9):
        with pytest.raises(IndexError, match="of a data set of 9 rows"):
            index.locate(outside)
