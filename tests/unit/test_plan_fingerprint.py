"""The order fingerprint, and how two of them differ."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from orchestrator.plan.fingerprint import Fingerprint, differences
from orchestrator.plan.index import Column, DatasetIndex, SourceFile
from tests.support.plans import make_index, make_plan, make_spec

SHIFT = {"use": "pkg.code:shift", "with": {"by": 1}}
BASE = {"transforms": [SHIFT]}


def lines(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    return list(differences(old, new).values())


def parts(code: str = "c" * 64, index: DatasetIndex | None = None, **sections: object) -> dict:
    spec = make_spec(**{**BASE, **sections})
    return dict(make_plan(spec, code=code, train=index).fingerprint.parts)


def test_the_same_parts_have_the_same_digest_in_any_order() -> None:
    one, other = Fingerprint(parts={"a": "1", "b": "2"}), Fingerprint(parts={"b": "2", "a": "1"})
    assert one.digest == other.digest
    assert one.digest != Fingerprint(parts={"a": "1", "b": "3"}).digest


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"seed": 8}, "seed was 7, is now 8"),
        (
            {"training": {"global_batch_size": 24}},
            "training.global_batch_size was 12, is now 24",
        ),
        (
            {"dataset": {"train": {"paths": "train"}, "shuffle": "none"}},
            "shuffle was window of all, is now none",
        ),
        (
            {"dataset": {"train": {"paths": "train"}, "shuffle": {"rows": 36}}},
            "shuffle was window of all, is now window of 36",
        ),
        (
            {"transforms": [{**SHIFT, "with": {"by": 2}}]},
            'transform 1 (pkg.code:shift), arguments was {"by": 1}, is now {"by": 2}',
        ),
    ],
)
def test_what_changes_the_batches_is_named(sections: dict[str, object], named: str) -> None:
    assert lines(parts(), parts(**sections)) == [named]


def test_other_data_and_other_code_are_named() -> None:
    (data,) = lines(parts(), parts(index=make_index((40, 30, 31))))
    assert data == "data changed"
    (code,) = lines(parts("a" * 64), parts("a" * 50 + "b" * 14))
    assert code == "transform 1 (pkg.code:shift), code changed"


def test_a_transform_more_or_less_is_named() -> None:
    more = parts(transforms=[SHIFT, {"use": "pkg.code:flip"}])
    assert lines(parts(), more) == [
        "transform 2 (pkg.code:flip) is new",
    ]
    assert lines(more, parts())[0] == "transform 2 (pkg.code:flip) is gone"


@pytest.mark.parametrize(
    "sections",
    [
        {"scaling": {"workers": 5}},
        {"scaling": {"lanes": 6, "superblock_steps": 4}},
        {"training": {"epochs": 9}},
        {"name": "other"},
        {"transforms": [{**SHIFT, "batch_rows": 5, "cpus": 2}]},
        {"transforms": [SHIFT, {"use": "pkg.code:shift", "splits": ["validation"]}]},
    ],
)
def test_what_only_says_how_batches_are_made_does_not_count(sections: dict[str, object]) -> None:
    assert lines(parts(), parts(**sections)) == []


def test_arguments_count_whatever_their_order() -> None:
    one, other = (
        parts(transforms=[{**SHIFT, "with": arguments}])
        for arguments in ({"a": 1, "b": [2]}, {"b": [2], "a": 1})
    )
    assert one == other


def test_long_values_are_shown_from_where_they_differ() -> None:
    old, new = "x" * 100 + "old" + "y" * 100, "x" * 100 + "new" + "y" * 100
    (line,) = lines({"p": old}, {"p": new})
    assert "xold" in line
    assert "xnew" in line
    assert len(line) < 120


def test_data_that_was_moved_as_a_whole_is_the_same_data() -> None:
    assert make_index(folder="/a/data").digest("/a") == make_index(folder="/b/data").digest("/b/")
    assert make_index(folder="/a/data").digest("/a") != make_index(folder="/a/other").digest("/a")


def test_the_digest_of_an_index_depends_on_rows_and_types() -> None:
    index = make_index()
    content = tuple(
        SourceFile(path=fragment.path, rows=fragment.rows, digest="0")
        for fragment in index.fragments
    )
    others = [
        replace(index, sources=content),
        replace(index, sources=(replace(content[0], digest="1"), *content[1:])),
        make_index((40, 30)),
        make_index((30, 40, 30)),
        DatasetIndex(
            fragments=index.fragments,
            columns=(Column(name="id", dtype="int64", has_nulls=True),),
        ),
        DatasetIndex(
            fragments=index.fragments,
            columns=(Column(name="id", dtype="int32", has_nulls=False),),
        ),
    ]
    assert len({other.digest("/data") for other in [index, *others]}) == 7
    assert make_index(row_bytes=9).digest("/data") == index.digest("/data")
