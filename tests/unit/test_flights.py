"""The flights recipe: what its transform fits and makes, and what its task says of a validation."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score
from torch.nn import functional

from pipelines.flights.metrics import area_under_curve
from pipelines.flights.record import Baseline, write_baseline
from pipelines.flights.task import FlightsTask
from pipelines.flights.transforms import (
    CATEGORIES,
    CODES_PER_CATEGORY,
    NUMBERS,
    Features,
    Moments,
    moments,
)

Batch = dict[str, np.ndarray]
NAN = float("nan")


def small(min_count: int = 1) -> Features:
    """A transform of two columns of numbers and two of categories."""
    return Features(min_count, numbers=["age", "wind"], categories=["carrier", "hour"])


def batch_of(
    *,
    age: Sequence[float],
    wind: Sequence[float],
    carrier: Sequence[str | None],
    hour: Sequence[float],
) -> Batch:
    return {
        "age": np.array(age),
        "wind": np.array(wind, dtype=np.float64),
        "carrier": np.array(carrier, dtype=object),
        "hour": np.array(hour),
        "late": np.zeros(len(age), dtype=bool),
    }


def random_batch(rows: int) -> Batch:
    """Rows with gaps in all columns but one, some values rare."""
    rng = np.random.default_rng(13)
    wind = np.where(rng.random(rows) < 0.7, np.nan, rng.normal(1e6, 3, rows))
    carrier = rng.choice(np.array(["UA", "B6", "EV", None, "OO"], object), rows)
    return batch_of(
        age=rng.integers(0, 40, rows),
        wind=wind,
        carrier=carrier,
        hour=np.where(rng.random(rows) < 0.1, np.nan, rng.integers(5, 24, rows)),
    )


def cut(batch: Batch, *, size: int) -> Iterator[Batch]:
    rows = len(batch["late"])
    for start, stop in pairwise([*range(0, rows, size), rows]):
        yield {name: column[start:stop] for name, column in batch.items()}


def fitted(batch: Batch, *, min_count: int = 1, size: int = 10_000) -> Features:
    features = small(min_count)
    state = features.fit(features.measure(piece) for piece in cut(batch, size=size))
    # As the framework stores it.
    features.load(json.loads(json.dumps(state)))
    return features


def test_numbers_are_scaled_by_the_mean_and_deviation_of_what_is_there() -> None:
    batch = random_batch(5000)
    features = small()
    state = features.fit(features.measure(piece) for piece in cut(batch, size=700))
    for name in ("age", "wind"):
        assert state["numbers"][name]["mean"] == pytest.approx(np.nanmean(batch[name]), rel=1e-12)
        assert state["numbers"][name]["std"] == pytest.approx(np.nanstd(batch[name]), rel=1e-9)


def test_values_that_occur_often_enough_get_a_code_in_their_order() -> None:
    batch = random_batch(5000)
    batch["carrier"][:3] = ["ZZ", "ZZ", "AA"]
    for min_count, wanted in [(3, []), (2, ["ZZ"]), (1, ["AA", "ZZ"])]:
        features = small(min_count)
        state = features.fit(features.measure(piece) for piece in cut(batch, size=700))
        assert state["categories"]["carrier"] == sorted(["B6", "EV", "OO", "UA", *wanted])
        assert state["categories"]["hour"] == list(range(5, 24))


@given(st.lists(st.integers(1, 299), max_size=20))
def test_the_state_does_not_depend_on_how_the_rows_are_cut(cuts: list[int]) -> None:
    batch = random_batch(300)
    features = small(5)
    whole = features.fit([features.measure(batch)])
    bounds = sorted({0, *cuts, 300})
    pieces = [
        features.measure({name: column[start:stop] for name, column in batch.items()})
        for start, stop in pairwise(bounds)
    ]
    state = features.fit(pieces)
    assert state["categories"] == whole["categories"]
    for name, scale in state["numbers"].items():
        assert scale == pytest.approx(whole["numbers"][name], rel=1e-9)
    # The same pieces give the same bits.
    assert json.dumps(features.fit(iter(pieces))) == json.dumps(state)


def test_one_row_pieces_are_enough() -> None:
    batch = random_batch(200)
    features = small()
    state = features.fit(features.measure(piece) for piece in cut(batch, size=1))
    whole = features.fit([features.measure(batch)])
    assert state["categories"] == whole["categories"]
    assert state["numbers"]["wind"] == pytest.approx(whole["numbers"]["wind"], rel=1e-9)


def test_a_deviation_far_smaller_than_the_mean_is_not_lost() -> None:
    there = 1e9 + np.arange(1000) % 2
    pieces = [moments(part) for part in np.array_split(there, 7)]
    total = Moments()
    for piece in pieces:
        total = total.plus(piece)
    # The sum of squares minus the square of the sum would be off by thousands here.
    assert total.squares / total.count == pytest.approx(0.25, rel=1e-6)


def test_a_gap_becomes_the_mean_and_a_mark() -> None:
    batch = batch_of(age=[1, 3], wind=[10, NAN], carrier=["UA", "UA"], hour=[5, 5])
    numbers = fitted(batch)(batch)["numbers"]
    assert numbers.dtype == np.float32
    # age, wind, then whether age and wind are gaps.
    assert numbers.tolist() == [[-1, 0, 0, 0], [1, 0, 0, 1]]


def test_gaps_rare_and_unseen_values_have_codes_of_their_own() -> None:
    train = batch_of(
        age=[0] * 6,
        wind=[0] * 6,
        carrier=["UA", "UA", "B6", "B6", "OO", None],
        hour=[6, 6, 5, 5, 7, NAN],
    )
    later = batch_of(
        age=[0] * 5, wind=[0] * 5, carrier=["B6", "UA", "OO", "XX", None], hour=[5, 6, 7, 8, NAN]
    )
    codes = fitted(train, min_count=2)(later)["codes"]
    assert codes.dtype == np.int64
    assert codes.tolist() == [[2, 2], [3, 3], [1, 1], [1, 1], [0, 0]]


def test_whole_numbers_are_the_same_values_whether_their_column_has_gaps_or_not() -> None:
    # A column with gaps comes as floating point; the validation need not have any.
    train = batch_of(age=[0, 0, 0], wind=[0, 0, 0], carrier=["UA"] * 3, hour=[5.0, NAN, 23.0])
    later = batch_of(age=[0, 0], wind=[0, 0], carrier=["UA"] * 2, hour=[23, 5])
    assert later["hour"].dtype == np.int64
    assert fitted(train)(later)["codes"][:, 1].tolist() == [3, 2]


def test_a_column_without_any_value_is_all_marks() -> None:
    batch = batch_of(age=[2, 2], wind=[NAN, NAN], carrier=[None, None], hour=[5, 5])
    features = fitted(batch)
    made = features(batch)
    assert made["numbers"].tolist() == [[0, 0, 0, 1], [0, 0, 0, 1]]
    assert made["codes"][:, 0].tolist() == [0, 0]
    # Values that turn up later are left as they are.
    later = features(batch_of(age=[2], wind=[3], carrier=["UA"], hour=[5]))
    assert later["numbers"].tolist() == [[0, 3, 0, 0]]
    assert later["codes"][:, 0].tolist() == [1]


def test_of_too_many_values_the_most_frequent_get_a_code() -> None:
    names = [f"{number:03}" for number in range(CODES_PER_CATEGORY)]
    rows = names + names[3:]
    batch = batch_of(age=[0] * len(rows), wind=[0] * len(rows), carrier=rows, hour=[5] * len(rows))
    codes = fitted(batch)(batch)["codes"][:, 0]
    # Two codes are taken, so two of the three that occur once go without: the last two.
    assert codes[:4].tolist() == [2, 1, 1, 3]
    assert codes.max() == CODES_PER_CATEGORY - 1


def test_rows_are_transformed_alike_in_any_company() -> None:
    batch = random_batch(300)
    features = fitted(batch, min_count=5)
    whole = features(batch)
    parts = [features(piece) for piece in cut(batch, size=7)]
    for name in ("numbers", "codes"):
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), whole[name])
    assert whole["late"] is batch["late"]
    none = features({name: column[:0] for name, column in batch.items()})
    assert (none["numbers"].shape, none["codes"].shape) == ((0, 4), (0, 2))


def test_a_count_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="min_count must be at least 1, got 0"):
        Features(0)


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_the_area_is_that_of_scikit_learn_with_and_without_ties(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    late = rng.random(3000) < 0.2
    scores = np.round(rng.normal(late * 0.7), decimals).astype(np.float32)
    ours = area_under_curve(torch.tensor(scores), torch.tensor(late))
    assert ours == pytest.approx(roc_auc_score(late, scores), abs=1e-12)


@pytest.mark.parametrize(
    ("scores", "area"), [([3, 1, 2], 1.0), ([0, 1, 2], 0.0), ([5, 5, 5], 0.5), ([1, 1, 0], 0.75)]
)
def test_the_area_is_the_share_of_pairs_in_the_right_order(
    scores: list[float], area: float
) -> None:
    late = torch.tensor([True, False, False])
    assert area_under_curve(torch.tensor(scores), late) == area


@pytest.mark.parametrize("late", [[True, True], [False, False], []])
def test_an_area_needs_both_kinds_of_rows(late: list[bool]) -> None:
    with pytest.raises(ValueError, match=f"of {len(late)} rows are late"):
        area_under_curve(torch.zeros(len(late)), torch.tensor(late, dtype=torch.bool))


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "numbers": torch.randn(500, 2 * len(NUMBERS), generator=generator),
        "codes": torch.randint(CODES_PER_CATEGORY, (500, len(CATEGORIES)), generator=generator),
        "late": torch.rand(500, generator=generator) < 0.3,
    }


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., str]:
    def write(*, rows: int, late: int) -> str:
        path = tmp_path / "baseline.json"
        baseline = Baseline(
            auc=0.6, log_loss=0.55, base_rate=late / rows, rows=rows, late=late, settings={}
        )
        write_baseline(baseline, path)
        return str(path)

    return write


def test_each_row_has_a_loss_of_its_own(batch: dict[str, torch.Tensor]) -> None:
    task = FlightsTask(width=4, dimensions=2)
    model = task.build_model()
    losses = task.loss(model, batch)
    assert losses.shape == (500,)
    alone = task.loss(model, {name: column[7:8] for name, column in batch.items()})
    torch.testing.assert_close(alone, losses[7:8])
    scores = model(batch["numbers"], batch["codes"])
    wanted = functional.binary_cross_entropy_with_logits(scores, batch["late"].float())
    torch.testing.assert_close(losses.mean(), wanted)


def test_equal_codes_of_two_categories_are_two_things(batch: dict[str, torch.Tensor]) -> None:
    # Of other first weights, few units may all be silent for such a row, whatever its codes are.
    torch.manual_seed(0)
    model = FlightsTask(width=32, dimensions=2).build_model()
    codes = torch.full((2, len(CATEGORIES)), 5)
    codes[0, 0] = codes[1, 1] = 6
    first, second = model(batch["numbers"][:1].expand(2, -1), codes)
    assert first != second


def test_a_validation_is_summed_up_over_all_rows(batch: dict[str, torch.Tensor]) -> None:
    task = FlightsTask()
    with torch.no_grad():
        values = task.evaluate(task.build_model(), batch)
    summary = task.summarise(values)
    late, scores = batch["late"].numpy(), values["score"].double()
    assert summary["auc"] == pytest.approx(roc_auc_score(late, scores), abs=1e-9)
    assert summary["loss"] == pytest.approx(log_loss(late, torch.sigmoid(scores)), abs=1e-6)
    assert summary["base_rate"] == late.mean()
    assert "auc_logistic" not in summary


def test_the_baseline_stands_beside_it(
    batch: dict[str, torch.Tensor], record: Callable[..., str]
) -> None:
    task = FlightsTask(baseline=record(rows=500, late=int(batch["late"].sum())))
    with torch.no_grad():
        summary = task.summarise(task.evaluate(task.build_model(), batch))
    assert list(summary) == ["auc", "base_rate", "loss", "auc_logistic", "loss_logistic"]
    assert (summary["auc_logistic"], summary["loss_logistic"]) == (0.6, 0.55)


@pytest.mark.parametrize(("more_rows", "more_late"), [(1, 0), (0, 1)])
def test_a_baseline_of_other_rows_is_refused(
    batch: dict[str, torch.Tensor],
    record: Callable[..., str],
    more_rows: int,
    more_late: int,
) -> None:
    late = int(batch["late"].sum())
    task = FlightsTask(baseline=record(rows=500 + more_rows, late=late + more_late))
    values = {"score": torch.zeros(500), "loss": torch.zeros(500), "late": batch["late"]}
    message = f"scored on {500 + more_rows} rows, {late + more_late} of them late; this validation"
    with pytest.raises(ValueError, match=re.escape(message)):
        task.summarise(values)


def test_a_baseline_that_is_not_there_is_told_at_once() -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere/baseline\.json"):
        FlightsTask(baseline="nowhere/baseline.json")


@pytest.mark.parametrize("arguments", [{"width": 0}, {"dimensions": 0}])
def test_a_network_without_units_is_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        FlightsTask(**arguments)
