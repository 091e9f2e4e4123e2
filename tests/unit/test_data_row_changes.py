"""Transforms that change the number of rows: what they may return, and what is said otherwise."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from orchestrator.data.blame import UserCodeError
from orchestrator.data.row_changes import units_of
from orchestrator.data.transforms import BoundTransform
from orchestrator.errors import DataError
from orchestrator.spec.transform import TransformSpec

MODULE = "row_changes_under_test"
CODE = """
import numpy as np

def keep_text(batch): return ["yes"] * len(batch["id"])
def keep_few(batch): return np.ones(1, dtype=bool)
def keep_ragged(batch): return [[True], [True, False]]
def keep_batch(batch): return batch
def no_counts(batch): return batch
def negative(batch): return batch, np.full(len(batch["id"]), -1)
def too_many(batch): return batch, np.full(len(batch["id"]), 2)
def ragged_counts(batch): return batch, [[1], [1, 2]]
def no_columns(batch): return [1, 2, 3]
def few_sequences(batch): return {"t": [[1]]}
def scalar(batch): return {"t": np.array(3)}
def nested(batch): return {"t": [[[1]]] * len(batch["id"])}
def words(batch): return {"t": [["a"]] * len(batch["id"])}
def uneven(batch): return {"t": [[1, 2]] * len(batch["id"]), "mask": [[1]] * len(batch["id"])}
def odd(batch): return batch["id"] % 2 == 1
def fails_on_seven(batch):
    if (batch["id"] == 7).any():
        raise ValueError("seven")
    return batch
KEPT, MADE = np.empty(8, dtype=bool), np.empty(8, dtype=np.int64)
def odd_reused(batch):
    kept = KEPT[: len(batch["id"])]
    kept[:] = batch["id"] % 2 == 1
    return kept
def once_reused(batch):
    made = MADE[: len(batch["id"])]
    made[:] = batch["id"]
    return {"id": made}, np.ones(len(made), dtype=np.int64)
def same_reused(batch): return once_reused(batch)[0]
"""
WRONG = {
    ("filter", "keep_text"): r"a filter returns whether to keep each row, bool \[8\]; got",
    ("filter", "keep_few"): r"bool \[8\]; got bool \[1\]",
    ("filter", "keep_ragged"): r"what to keep, a list, is no array",
    ("filter", "keep_batch"): r"bool \[8\]; got dict",
    ("flat_map", "no_counts"): r"a tuple of two; got dict",
    ("flat_map", "negative"): r"whole numbers from 0 on, \[8\]",
    ("flat_map", "too_many"): r"column 'id' has 8 rows for 16 rows",
    ("flat_map", "ragged_counts"): r"how many entries each row gives, a list, is no array",
    ("pack", "no_columns"): r"returned list, wanted a dictionary of columns",
    ("pack", "few_sequences"): r"a sequence of tokens for each of 8 rows; got list",
    ("pack", "scalar"): r"a sequence of tokens for each of 8 rows; got ndarray",
    ("pack", "nested"): r"a sequence of single numbers",
    ("pack", "words"): r"holds <U1, wanted numbers",
    ("pack", "uneven"): r"a row has 2 entries in 't', but 1 in 'mask'",
}


@pytest.fixture(autouse=True)
def root(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / f"{MODULE}.py").write_text(CODE)
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path
    sys.modules.pop(MODULE, None)


def bind(root: Path, kind: str, name: str, **fields: object) -> BoundTransform:
    length = {"length": 4} if kind == "pack" else {}
    spec = TransformSpec.model_validate(
        {"use": f"{MODULE}:{name}", "kind": kind, **length, **fields}
    )
    return BoundTransform(spec, root=root, seed=0)


@pytest.mark.parametrize(("kind", "name"), WRONG)
def test_what_does_not_fit_the_kind_is_told_with_the_transform(
    root: Path, kind: str, name: str
) -> None:
    with pytest.raises(DataError, match=WRONG[kind, name]) as caught:
        units_of([bind(root, kind, name)], {"id": np.arange(8)}, np.arange(8))
    assert f"transform {MODULE}:{name}" in str(caught.value)


def test_a_failure_after_a_filter_is_told_of_the_rows_that_were_given(root: Path) -> None:
    transforms = [bind(root, "filter", "odd"), bind(root, "map", "fails_on_seven")]
    with pytest.raises(UserCodeError) as caught:
        units_of(transforms, {"id": np.arange(20)}, np.arange(20))
    # The ten odd rows: from the first to the last of them.
    assert (caught.value.start, caught.value.stop) == (1, 20)


def test_after_a_filter_that_leaves_nothing_no_transform_is_called(root: Path) -> None:
    transforms = [bind(root, "filter", "odd"), bind(root, "map", "fails_on_seven")]
    units = units_of(transforms, {"id": np.array([0, 2])}, np.arange(2))
    assert (units.counts.tolist(), units.columns) == ([0, 0], {})


@pytest.mark.parametrize(
    ("kind", "name", "wanted"),
    [
        ("filter", "odd_reused", [1, 3, 5, 7]),
        ("flat_map", "once_reused", [*range(8)]),
        ("map", "same_reused", [*range(8)]),
    ],
)
def test_a_transform_may_write_into_its_arrays_again(
    root: Path, kind: str, name: str, wanted: list[int]
) -> None:
    reused = bind(root, kind, name, batch_rows=3)
    units = units_of([reused], {"id": np.arange(8)}, np.arange(8))
    assert units.columns["id"].tolist() == wanted


@pytest.mark.parametrize("kind", ["flat_map", "map"])
def test_what_a_fragment_gave_stays_as_it_is_while_the_next_one_is_read(
    root: Path, kind: str
) -> None:
    reused = bind(root, kind, "once_reused" if kind == "flat_map" else "same_reused")
    first, _ = (
        units_of([reused], {"id": np.arange(start, start + 8)}, np.arange(8)) for start in (0, 8)
    )
    assert first.columns["id"].tolist() == [*range(8)]
