"""The index: rows numbered through all fragments, and what became of its files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.plan.index import Column, DatasetIndex, Fragment, file_changes
from tests.support.plans import make_index


def test_sizes_are_summed_up() -> None:
    index = make_index((40, 30), row_bytes=16)
    assert (index.rows, index.files, index.bytes, index.bytes_per_row) == (70, 2, 1120, 16.0)


OLD = {f"train/part-{number}.parquet": f"10 rows, {number}" for number in range(5)}


@pytest.mark.parametrize(
    ("new", "lines"),
    [
        (OLD, []),
        ({**OLD, "train/part-3.parquet": "10 rows, x"}, ["train/part-3.parquet is changed"]),
        (
            {path: "9 rows, y" for path in OLD},
            [
                "5 files (train/part-0.parquet, train/part-1.parquet, train/part-2.parquet and 2"
                " more) are changed"
            ],
        ),
        ({**OLD, "train/a": "1 rows, 1", "train/b": ""}, ["2 files (train/a, train/b) are new"]),
        (
            {"train/part-0.parquet": "1", "c": "2"},
            [
                "train/part-0.parquet is changed",
                "c is new",
                "4 files (train/part-1.parquet, train/part-2.parquet, train/part-3.parquet and 1"
                " more) are gone",
            ],
        ),
        (dict(reversed(OLD.items())), ["the files come in another order"]),
    ],
)
def test_what_became_of_the_files_is_said_by_name_and_in_few_words(
    new: dict[str, str], lines: list[str]
) -> None:
    assert file_changes(OLD, new) == lines


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


@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4), min_size=1, max_size=4))
def test_every_row_is_found_in_its_file(files: list[list[int]]) -> None:
    index = DatasetIndex(
        fragments=tuple(
            Fragment(path=f"part-{file}", row_group=group, rows=rows, bytes=rows)
            for file, groups in enumerate(files)
            for group, rows in enumerate(groups)
        ),
        columns=(Column(name="id", dtype="int64", has_nulls=False),),
    )
    places = [
        (f"part-{file}", row)
        for file, groups in enumerate(files)
        for row in range(int(np.sum(groups)))
    ]
    assert [index.locate(row) for row in range(index.rows)] == places
