"""Random numbers that belong to the row."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from orchestrator.data.random import RowRandom

DRAWS: dict[str, Callable[[RowRandom], NDArray[np.generic]]] = {
    "random": lambda rng: rng.random(),
    "random of a size": lambda rng: rng.random(3),
    "random of a shape": lambda rng: rng.random((2, 2)),
    "uniform": lambda rng: rng.uniform(-2, 5, size=2),
    "integers": lambda rng: rng.integers(-3, 9, size=(2,)),
    "normal": lambda rng: rng.normal(1.0, 2.0, size=3),
    "the second draw": lambda rng: (rng.random(5), rng.random())[1],
}


def make(rows: object, *, seed: int = 1, epoch: int = 2, transform: str = "t") -> RowRandom:
    return RowRandom(seed, epoch, np.asarray(rows, dtype=np.int64), transform=transform)


@pytest.mark.parametrize("name", DRAWS)
@given(rows=st.lists(st.integers(0, 2**62), min_size=1, max_size=20, unique=True), data=st.data())
def test_a_row_draws_the_same_in_any_company_and_any_order(
    name: str, rows: list[int], data: st.DataObject
) -> None:
    draw = DRAWS[name]
    together = dict(zip(rows, draw(make(rows)), strict=True))
    chosen = data.draw(st.permutations(rows))[: data.draw(st.integers(1, len(rows)))]
    for row, value in zip(chosen, draw(make(chosen)), strict=True):
        np.testing.assert_array_equal(value, together[row])


@pytest.mark.parametrize(
    "other",
    [make([5], seed=2), make([5], epoch=3), make([5], transform="u"), make([6])],
    ids=["seed", "epoch", "transform", "row"],
)
def test_another_seed_epoch_transform_or_row_draws_anew(other: RowRandom) -> None:
    one = make([5]).random(8)
    assert not np.isin(one, other.random(8)).any()


def test_every_draw_goes_on_where_the_last_one_ended() -> None:
    rng = make([1, 2, 3])
    parts = np.concatenate([rng.random(2), rng.random(3)], axis=1)
    np.testing.assert_array_equal(parts, make([1, 2, 3]).random(5))


def test_the_numbers_never_change() -> None:
    # A change of these values changes every augmentation of every run.
    assert make([0, 7]).integers(0, 1000, size=3).tolist() == [[773, 246, 380], [421, 178, 712]]


def test_draws_are_even_over_rows_and_over_calls() -> None:
    values = make(np.arange(20_000)).random(5)
    assert values.min() >= 0.0
    assert values.max() < 1.0
    for axis in (0, 1):
        assert abs(values.mean(axis=axis).mean() - 0.5) < 0.003
    counts, _ = np.histogram(values, bins=50)
    expected = values.size / 50
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < 100  # 49 degrees of freedom: far out on the tail
    neighbours = np.corrcoef(values[:-1, 0], values[1:, 0])[0, 1]
    calls = np.corrcoef(values[:, 0], values[:, 1])[0, 1]
    assert max(abs(neighbours), abs(calls)) < 0.03


def test_normal_draws_have_the_mean_and_the_deviation_asked_for() -> None:
    values = make(np.arange(50_000)).normal(3.0, 2.0)
    assert abs(values.mean() - 3.0) < 0.05
    assert abs(values.std() - 2.0) < 0.05
    assert np.isfinite(values).all()


def test_whole_numbers_cover_their_range_and_nothing_else() -> None:
    values = make(np.arange(1000)).integers(-2, 3)
    assert set(values.tolist()) == {-2, -1, 0, 1, 2}
    assert values.dtype == np.int64


def test_an_empty_range_of_whole_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="high must be above low, got low=3, high=3"):
        make([0]).integers(3, 3)


@pytest.mark.parametrize(
    ("rows", "size", "shape"),
    [([], 3, (0, 3)), ([1, 2], 0, (2, 0)), ([1, 2], (), (2,)), ([1], (2, 3), (1, 2, 3))],
)
def test_any_size_will_do(rows: list[int], size: int | tuple[int, ...], shape: tuple[int]) -> None:
    assert make(rows).random(size).shape == shape
    assert make(rows).normal(size=size).shape == shape
