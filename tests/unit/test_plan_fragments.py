"""Fragments by the million: small as they are held and as they travel."""

import pickle

import numpy as np

from orchestrator.plan.fragments import Fragment, Fragments
from orchestrator.plan.index import Column, DatasetIndex
from tests.support.plans import make_index

SOME = tuple(
    Fragment(path=f"/data/{file}.parquet", row_group=group, rows=10 + group, bytes=80)
    for file in ("b", "a")
    for group in (0, 1, 2)
)


def test_they_are_a_sequence_of_what_they_were_made_of() -> None:
    fragments = Fragments(SOME)
    assert tuple(fragments) == SOME
    assert (len(fragments), fragments[4], fragments[1:3]) == (6, SOME[4], SOME[1:3])
    assert fragments.paths == ("/data/b.parquet", "/data/a.parquet")
    assert Fragments.of(fragments) is fragments


def test_equal_fragments_are_equal_and_others_are_not() -> None:
    assert Fragments(SOME) == Fragments(list(SOME))
    assert hash(Fragments(SOME)) == hash(Fragments(list(SOME)))
    assert Fragments(SOME) != Fragments(SOME[:5])
    assert Fragments(SOME) != SOME
    assert len(Fragments()) == 0


def test_a_million_of_them_travel_as_numbers() -> None:
    count, groups = 1_000_000, 1_000
    number = np.arange(count)
    index = DatasetIndex(
        fragments=Fragments.from_columns(
            [f"/data/{file}.parquet" for file in range(count // groups)],
            file=number // groups,
            row_group=number % groups,
            rows=np.full(count, 1_000_000),
            bytes=np.full(count, 8_000_000),
        ),
        columns=(Column(name="id", dtype="int64", has_nulls=False),),
    )
    assert index.rows == 10**12
    assert index.locate(10**12 - 1) == ("/data/999.parquet", 10**9 - 1)
    # Also what has been computed by now stays at home.
    travels = pickle.dumps(index)
    assert len(travels) < 25 * count
    assert pickle.loads(travels) == index


def test_rows_of_a_file_are_counted_where_others_lie_between_its_fragments() -> None:
    parts = [SOME[0], SOME[3], SOME[1], SOME[4]]
    index = DatasetIndex(fragments=parts, columns=make_index().columns)
    assert index.locate(20) == ("/data/b.parquet", 10)
    assert index.locate(31) == ("/data/a.parquet", 10)
