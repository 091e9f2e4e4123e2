"""Transforms of the user: bound, applied, and blamed by name and line."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from orchestrator.data.blame import UserCodeError
from orchestrator.data.codec import Columns
from orchestrator.data.fitted import FittedState
from orchestrator.data.transforms import BoundTransform, apply_all, in_pieces
from orchestrator.errors import DataError, SpecError
from orchestrator.plan.origins import Origins
from orchestrator.spec.transform import TransformSpec

MODULE = "user_transforms_under_test"
CODE = """
import numpy as np

def double(batch, factor=2):
    return {**batch, "x": batch["x"] * factor}

class Add:
    made = 0
    def __init__(self, term):
        Add.made += 1
        self.term = term
    def __call__(self, batch):
        batch["x"] += self.term
        return batch

def jitter(batch, rng, scale=1.0):
    return {**batch, "x": batch["x"] + scale * rng.normal(size=batch["x"].shape[1:])}

def size(batch):
    return {"rows": np.full(len(batch["x"]), len(batch["x"]))}

def fail(batch):
    return helper(batch)

def helper(batch):
    raise KeyError("pixels")  # line 26

def fail_in_numpy(batch):
    return {"x": np.linalg.inv(batch["x"])}  # line 29

def leave(batch):
    raise SystemExit("enough")  # line 32

def fewer(batch):
    return {"x": batch["x"][1:]}

def more(batch):
    return {"x": np.concatenate([batch["x"], batch["x"]])}

def scalar(batch):
    return {"x": 3}

def nothing(batch):
    pass

def empty(batch):
    return {}

def ragged(batch):
    return {"x": [[1], *([[1, 2]] * (len(batch["x"]) - 1))]}

def columns_by_size(batch):
    name = "a" if len(batch["x"]) == 4 else "b"
    return {"x": batch["x"], name: batch["x"]}

def shapes_by_size(batch):
    rows = len(batch["x"])
    return {"x": np.zeros((rows, rows))}

def lists(batch):
    return {"x": batch["x"].tolist()}

def needs_more(batch, missing):
    return batch

class NotCallable:
    pass

class Breaks:
    def __init__(self):
        raise OSError("no vocabulary")

class Mean:
    def measure(self, batch):
        return float(batch["x"].sum()), batch["x"].size
    def fit(self, measures):
        measures = list(measures)
        total, count = map(sum, zip(*measures))
        return {"mean": total / count, "pieces": len(measures)}
    def load(self, state):
        self.mean = state["mean"]
    def __call__(self, batch):
        return {**batch, "x": batch["x"] - self.mean}

class BadMean(Mean):
    def measure(self, batch):
        return 1 / 0
    def fit(self, measures):
        raise KeyError("fit")
    def load(self, state):
        raise KeyError("load")

class NoLoad:
    def measure(self, batch):
        return 0
    def fit(self, measures):
        return {}
    def __call__(self, batch):
        return batch

number = 5

class Reused:
    def __init__(self):
        self.x = np.empty((10, 2))

    def __call__(self, batch):
        x = self.x[: len(batch["x"])]
        x[:] = batch["x"] * 2
        return {**batch, "x": x}
"""
HALVES = (slice(0, 5), slice(5, 10))
ROWS = np.arange(10, dtype=np.int64) + 100
ALL = Origins(rows=ROWS)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / f"{MODULE}.py").write_text(CODE)
    path, modules = list(sys.path), dict(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in sys.modules.keys() - modules.keys():
        del sys.modules[name]


def bind(
    root: Path,
    name: str,
    *,
    seed: int = 0,
    repeat: int = 0,
    state: FittedState | None = None,
    **fields: object,
) -> BoundTransform:
    spec = TransformSpec.model_validate({"use": f"{MODULE}:{name}", **fields})
    return BoundTransform(spec, root=root, seed=seed, repeat=repeat, state=state)


def columns() -> Columns:
    return {"x": np.arange(20.0).reshape(10, 2), "id": ROWS.copy()}


def test_a_function_gets_the_batch_and_its_arguments(root: Path) -> None:
    result = bind(root, "double", **{"with": {"factor": 3}}).apply(columns(), ALL, 0)
    np.testing.assert_array_equal(result["x"], columns()["x"] * 3)
    np.testing.assert_array_equal(result["id"], ROWS)


def test_a_class_is_made_once_and_then_called(root: Path) -> None:
    add = bind(root, "Add", **{"with": {"term": 1.5}}, batch_rows=3)
    for _ in range(2):
        result = add.apply(columns(), ALL, 0)
    np.testing.assert_array_equal(result["x"], columns()["x"] + 1.5)
    assert sys.modules[MODULE].Add.made == 1


@pytest.mark.parametrize("batch_rows", [1, 3, 5, 9, 10, 11])
@pytest.mark.parametrize("name", ["double", "jitter", "lists"])
def test_pieces_of_any_size_give_what_the_whole_gives(
    root: Path, name: str, batch_rows: int
) -> None:
    whole = bind(root, name).apply(columns(), ALL, 1)
    pieces = bind(root, name, batch_rows=batch_rows).apply(columns(), ALL, 1)
    assert whole.keys() == pieces.keys()
    for key in whole:
        np.testing.assert_array_equal(whole[key], pieces[key])


def test_a_transform_may_write_into_its_arrays_again(root: Path) -> None:
    got = bind(root, "Reused", batch_rows=4).apply(columns(), ALL, 0)
    np.testing.assert_array_equal(got["x"], columns()["x"] * 2)
    reused = bind(root, "Reused")

    def call(part: slice) -> Columns:
        taken = {key: column[part] for key, column in columns().items()}
        return reused.apply(taken, ALL.take(part), 0)

    got = in_pieces(call, slice(0, 10), rows=3, name="Reused")
    np.testing.assert_array_equal(got["x"], columns()["x"] * 2)


def test_a_call_gets_at_most_the_rows_asked_for(root: Path) -> None:
    result = bind(root, "size", batch_rows=4).apply(columns(), ALL, 0)
    assert result["rows"].tolist() == [4] * 8 + [2] * 2


def test_random_numbers_follow_the_row(root: Path) -> None:
    jitter = bind(root, "jitter")
    whole = jitter.apply(columns(), ALL, 1)["x"]
    picked = np.array([7, 2, 5])
    part = {name: column[picked] for name, column in columns().items()}
    np.testing.assert_array_equal(jitter.apply(part, ALL.take(picked), 1)["x"], whole[picked])


def test_random_numbers_differ_by_seed_epoch_and_use(root: Path) -> None:
    results = [
        bind(root, "jitter", seed=seed, repeat=repeat).apply(columns(), ALL, epoch)["x"].tobytes()
        for seed, epoch, repeat in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 2)]
    ]
    assert len(set(results)) == 5


def test_transforms_are_applied_one_after_another(root: Path) -> None:
    add, double = bind(root, "Add", **{"with": {"term": 1}}), bind(root, "double")
    result = apply_all([add, double], columns(), ALL, 0)
    np.testing.assert_array_equal(result["x"], (columns()["x"] + 1) * 2)


def test_a_transform_learns_its_columns_from_no_rows_too(root: Path) -> None:
    none = {name: column[:0] for name, column in columns().items()}
    assert bind(root, "double", batch_rows=3).apply(none, ALL.take(slice(0)), 0)["x"].shape == (
        0,
        2,
    )


@pytest.mark.parametrize(
    ("name", "kind", "line"),
    [("fail", "KeyError", 26), ("fail_in_numpy", "LinAlgError", 29), ("leave", "SystemExit", 32)],
)
def test_a_failure_names_the_transform_its_rows_and_the_line_of_the_users_code(
    root: Path, name: str, kind: str, line: int
) -> None:
    with pytest.raises(UserCodeError) as caught:
        bind(root, name, batch_rows=6).apply(columns(), ALL, 3)
    assert (caught.value.start, caught.value.stop) == (0, 6)
    first, *trace = str(caught.value.told(" here")).splitlines()
    assert first.startswith(f"transform {MODULE}:{name} failed here: {kind}: ")
    assert f" in {name}: " in trace[0]
    assert trace[-1].startswith(f"  at {root / MODULE}.py:{line} in ")


def test_a_call_that_fails_before_the_users_code_names_no_line_of_ours(root: Path) -> None:
    with pytest.raises(UserCodeError) as caught:
        bind(root, "needs_more").apply(columns(), ALL, 3)
    assert str(caught.value.told()).endswith(
        "needs_more() missing 1 required positional argument: 'missing'"
    )


def test_a_fitted_transform_measures_fits_and_is_applied_with_its_state(root: Path) -> None:
    fitted = bind(root, "Mean")
    assert fitted.fitted
    assert not bind(root, "Add", **{"with": {"term": 1}}).fitted
    halves = [{name: column[part] for name, column in columns().items()} for part in HALVES]
    text = fitted.fit([fitted.measure(half) for half in halves])
    assert json.loads(text) == {"mean": columns()["x"].mean(), "pieces": 2}
    state = FittedState(use=f"{MODULE}:Mean", position=1, text=text)
    loaded = bind(root, "Mean", state=state)
    np.testing.assert_allclose(loaded.apply(columns(), ALL, 0)["x"].mean(), 0.0, atol=1e-12)


def test_a_fitted_transform_is_not_applied_before_it_is_fitted(root: Path) -> None:
    with pytest.raises(DataError, match=f"{MODULE}:Mean is a fitted one, but nothing has been"):
        bind(root, "Mean").apply(columns(), ALL, 0)


def test_a_failure_in_a_fitted_transforms_own_methods_names_the_method(root: Path) -> None:
    with pytest.raises(UserCodeError) as caught:
        bind(root, "BadMean").measure(columns())
    assert (caught.value.start, caught.value.stop) == (0, 10)
    assert str(caught.value.told()).startswith(f"transform {MODULE}:BadMean: measure failed: ZeroD")
    state = FittedState(use=f"{MODULE}:BadMean", position=1, text="{}")
    for method, work in {
        "fit": lambda: bind(root, "BadMean").fit([]),
        "load": lambda: bind(root, "BadMean", state=state),
    }.items():
        start = (
            rf"transform {MODULE}:BadMean: {method} failed: KeyError: '{method}'\n  at .*:\d+ in "
        )
        with pytest.raises(DataError, match=start + method):
            work()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fewer", "column 'x' has 9 rows for 10 rows of input"),
        ("more", "column 'x' has 20 rows for 10 rows of input"),
        ("scalar", "column 'x' has a scalar for 10 rows of input"),
        ("nothing", "returned NoneType, wanted a dictionary of columns"),
        ("empty", "returned dict, wanted a dictionary of columns"),
        ("ragged", "column 'x', a list, is no array"),
    ],
)
def test_what_is_no_batch_of_as_many_rows_is_refused(root: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"transform {MODULE}:{name}.*{message}"):
        bind(root, name).apply(columns(), ALL, 0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("columns_by_size", "different columns for different batches: a, x, then b, x"),
        ("shapes_by_size", "different types or shapes for different batches"),
    ],
)
def test_pieces_that_do_not_fit_together_are_refused(root: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        bind(root, name, batch_rows=4).apply(columns(), ALL, 0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NotCallable", "the class defines no __call__"),
        (
            "Breaks",
            r"cannot be constructed: OSError: no vocabulary\n  at .*\.py:\d+ in __init__",
        ),
        ("NoLoad", "has measure and fit but no load"),
        ("Add", r"cannot be constructed: TypeError: .*missing 1 required .* 'term'"),
        ("number", "is a int, wanted a callable"),
    ],
)
def test_what_cannot_be_a_transform_is_refused_before_any_data(
    root: Path, name: str, message: str
) -> None:
    with pytest.raises(SpecError, match=rf"transform {MODULE}:{name}: {message}"):
        bind(root, name)
