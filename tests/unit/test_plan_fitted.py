"""Fitted transforms in the plan: which there are, what speaks against them, what they read."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import PlanError
from orchestrator.plan.fitted import PlannedFit, measured_rows, measured_windows
from orchestrator.plan.job import JobPlan
from orchestrator.spec.transform import TransformSpec
from tests.support.plans import make_index, make_plan, make_spec

MIB = 1 << 20


def planned(*transforms: object) -> JobPlan:
    return make_plan(make_spec(transforms=list(transforms)), fitted={"m:Fit", "m:Other"})


def test_fits_are_planned_in_the_order_of_the_training_transforms() -> None:
    plan = planned(
        {"use": "m:g", "splits": ["validation"]}, "m:f", "m:Other", "m:f", "m:Fit", "m:Other"
    )
    assert plan.fitted == (
        PlannedFit(use="m:Other", position=2),
        PlannedFit(use="m:Fit", position=4),
        PlannedFit(use="m:Other", position=5),
    )


def test_a_fitted_transform_that_training_does_without_is_refused() -> None:
    with pytest.raises(PlanError, match="m:Fit is fitted on the training rows, but its splits are"):
        planned({"use": "m:Fit", "splits": ["validation"]})


def test_a_fit_on_what_a_gpu_makes_is_refused() -> None:
    with pytest.raises(PlanError, match="m:Fit is fitted on what m:embed makes, which needs a GPU"):
        planned({"use": "m:embed", "gpus": 0.5}, "m:Fit")


@given(st.lists(st.integers(1, 150), min_size=1, max_size=30))
def test_windows_are_whole_fragments_end_to_end_and_no_longer_than_they_may(
    sizes: list[int],
) -> None:
    index = make_index(sizes, row_bytes=MIB)
    windows = measured_windows(index)
    assert [number for window in windows for number in window] == list(range(len(sizes)))
    for window in windows:
        assert len(window) == 1 or sum(sizes[number] for number in window) <= 64
    for window, after in pairwise(windows):
        assert sum(sizes[number] for number in [*window, after.start]) > 64


@pytest.mark.parametrize(
    ("row_bytes", "batch_rows", "rows"),
    [(MIB, None, 16), (MIB, 5, 5), (32 * MIB, None, 1), (1, None, 1 << 18), (MIB, 500, 16)],
)
def test_a_call_measures_a_bounded_piece(row_bytes: int, batch_rows: int, rows: int) -> None:
    spec = TransformSpec(use="m:Fit", batch_rows=batch_rows)
    assert measured_rows(make_index((100,), row_bytes=row_bytes), spec) == rows


def test_pieces_do_not_depend_on_the_cluster_or_the_batch() -> None:
    plans = [
        make_plan(
            make_spec(
                transforms=["m:Fit"],
                training={"global_batch_size": batch},
                scaling={"workers": workers},
            ),
            fitted={"m:Fit"},
        )
        for batch, workers in [(12, 1), (12, 3), (7, 1)]
    ]
    cuts = {
        (tuple(measured_windows(plan.train.index)), measured_rows(plan.train.index, transform))
        for plan in plans
        for transform in plan.spec.transforms
    }
    assert len(cuts) == 1
