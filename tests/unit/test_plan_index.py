"""The index: rows numbered through all fragments."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.plan.index import Column, DatasetIndex, Fragment
from tests.support.plans import make_index


def test_sizes_are_summed_up() -> None:
    index = make_index((40, 30), row_bytes=16)
    assert (index.rows, index.files, index.bytes, index.bytes_per_row) == (70, 2, 1120, 16.0)


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
