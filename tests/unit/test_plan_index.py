"""The index: rows numbered through all fragments, and what became of its files."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import DataError
from orchestrator.plan.index import (
    Column,
    DatasetIndex,
    Fragment,
    IndexedSource,
    file_changes,
    join_indexes,
)
from tests.support.plans import make_index


def test_sizes_are_summed_up() -> None:
    index = make_index((40, 30), row_bytes=16)
    assert (index.rows, index.files, index.bytes, index.bytes_per_row) == (70, 2, 1120, 16.0)


def columns(**dtypes: str) -> tuple[Column, ...]:
    return tuple(Column(name=name, dtype=dtype, has_nulls=False) for name, dtype in dtypes.items())


def test_sources_follow_each_other_in_one_index() -> None:
    one, other = make_index((40, 30), folder="/a"), make_index((5, 6, 7), folder="/b")
    index = join_indexes({"one": one, "other": other}, where="sources")
    assert list(index.fragments) == [*one.fragments, *other.fragments]
    assert index.mixed == (
        IndexedSource(name="one", start=0, stop=2),
        IndexedSource(name="other", start=2, stop=5),
    )
    assert index.locate(70) == ("/b/part-0.parquet", 0)
    assert index.locate(80) == ("/b/part-1.parquet", 5)


def test_a_column_with_gaps_in_one_source_has_them_in_all() -> None:
    one, other = make_index(folder="/a"), make_index(folder="/b")
    gaps = (replace(other.columns[0], has_nulls=True),)
    index = join_indexes({"one": one, "other": replace(other, columns=gaps)}, where="sources")
    assert index.columns == gaps


def test_columns_may_stand_in_another_order() -> None:
    one = replace(make_index(folder="/a"), columns=columns(x="double", y="int64"))
    other = replace(make_index(folder="/b"), columns=columns(y="int64", x="double"))
    assert join_indexes({"one": one, "other": other}, where="").columns == one.columns


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"id": "int64"}, "sources.b: there is no column 'x', but sources.a has it"),
        (
            {"id": "int64", "x": "string"},
            "sources.b: column 'x' is string, but double in sources.a",
        ),
        (
            {"id": "int64", "x": "double", "y": "bool"},
            "sources.b: there is a column 'y', which sources.a lacks",
        ),
    ],
)
def test_sources_with_other_columns_are_refused_by_both_names(
    other: dict[str, str], message: str
) -> None:
    first = replace(make_index(folder="/a"), columns=columns(id="int64", x="double"))
    second = replace(make_index(folder="/b"), columns=columns(**other))
    with pytest.raises(DataError) as caught:
        join_indexes({"a": first, "b": second}, where="sources")
    assert str(caught.value) == message
    assert caught.value.hint is not None
    assert "dataset.train.columns" in caught.value.hint


def test_a_file_belongs_to_one_source() -> None:
    with pytest.raises(DataError) as caught:
        join_indexes({"a": make_index((5, 6)), "b": make_index((5,))}, where="sources")
    assert str(caught.value) == (
        "sources.b: /data/part-0.parquet is a file of sources.a too, and a row belongs to one"
        " source"
    )


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
