"""Sums over rows become exact means, however the rows were shared out."""

import pytest
import torch
from torch import Tensor

from orchestrator.errors import JobFailedError
from orchestrator.train.totals import Totals, row_totals


def totals(*, rows: int, counted: bool = True, **values: Tensor | list[float] | float) -> Totals:
    return row_totals(
        {name: torch.as_tensor(value) for name, value in values.items()}, rows=rows, counted=counted
    )


def test_the_mean_is_over_rows_and_not_over_batches() -> None:
    both = totals(rows=3, loss=[1.0, 2.0, 3.0]).plus(totals(rows=1, loss=[10.0]))
    assert both.rows == 4
    assert both.means() == {"loss": 4.0}


def test_a_scalar_stands_for_the_mean_of_its_rows() -> None:
    assert totals(rows=4, loss=2.5).plus(totals(rows=1, loss=0.0)).means() == {"loss": 2.0}


def test_names_are_sorted_so_that_all_ranks_add_the_same_things() -> None:
    assert totals(rows=1, b=[2.0], a=[1.0]).names == ("a", "b")
    assert totals(rows=1, b=[2.0], a=[1.0]).means() == {"a": 1.0, "b": 2.0}


def test_stand_ins_count_nothing_even_where_they_are_not_numbers() -> None:
    nothing = totals(rows=2, counted=False, loss=[float("nan"), float("inf")])
    assert nothing.rows == 0
    assert nothing.plus(totals(rows=2, loss=[1.0, 3.0])).means() == {"loss": 2.0}


def test_whole_numbers_and_truths_are_averaged_too() -> None:
    found = totals(rows=4, right=torch.tensor([True, True, True, False]), n=torch.arange(4))
    assert found.means() == {"n": 1.5, "right": 0.75}


def test_many_small_values_are_added_exactly() -> None:
    step = totals(rows=1000, loss=torch.full((1000,), 0.1))
    total = step
    for _ in range(999):
        total = total.plus(step)
    assert total.means()["loss"] == pytest.approx(float(torch.tensor(0.1)), rel=1e-12)


def test_no_gradient_is_kept() -> None:
    value = torch.ones(2, requires_grad=True) * 2
    assert not row_totals({"loss": value}, rows=2, counted=True).sums.requires_grad


def test_no_metric_at_all_still_counts_rows() -> None:
    assert totals(rows=3).rows == 3
    assert totals(rows=3).means() == {}


def test_other_names_than_before_are_refused() -> None:
    with pytest.raises(JobFailedError, match=r"metrics \('accuracy',\) after \('loss',\)"):
        totals(rows=1, loss=[1.0]).plus(totals(rows=1, accuracy=[1.0]))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(2, 1), r"'m' of shape \[2, 1\] for 2 rows; wanted one value a row, \[2\]"),
        (torch.zeros(3), r"'m' of shape \[3\] for 2 rows"),
        (0.5, "'m' of type float; wanted a tensor"),
    ],
)
def test_a_metric_of_another_shape_is_named(value: Tensor, message: str) -> None:
    with pytest.raises(JobFailedError, match=message):
        row_totals({"m": value}, rows=2, counted=True)


def test_metrics_without_names_are_refused() -> None:
    with pytest.raises(JobFailedError, match="of type Tensor; wanted a mapping"):
        row_totals(torch.zeros(2), rows=2, counted=True)  # type: ignore[arg-type]
