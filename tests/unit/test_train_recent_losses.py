"""A loss that is no number is traced to its step and rows, however long ago the last report was."""

import numpy as np
import pytest
import torch

from orchestrator.train.outcome import RowLosses
from orchestrator.train.recent_losses import RecentLosses
from tests.support.plans import make_index

NAN = float("nan")


def add(recent: RecentLosses, step: int, *losses: float, exact: bool = True) -> None:
    rows = np.arange(step * 10, step * 10 + len(losses))
    values = RowLosses(values=torch.tensor(losses), exact=exact)
    recent.add(rows, values, step=step, epoch=0, place=step - 1)


def text(recent: RecentLosses) -> str:
    return str(recent.explain(NAN, step=9, epoch=0)).splitlines()[0]


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([1.0, NAN], "nan in step 3 (epoch 1): row 31"),
        ([NAN, NAN], "nan in step 3 (epoch 1): rows 30, 31"),
        ([NAN, float("-inf")], "nan in step 3 (epoch 1): rows 30, 31"),
        ([1.0, float("inf")], "infinite in step 3 (epoch 1): row 31"),
        ([NAN] * 5, "nan in step 3 (epoch 1): rows 30, 31, 32 (and 2 more)"),
    ],
)
def test_the_first_step_and_its_rows_are_named(losses: list[float], said: str) -> None:
    recent = RecentLosses(make_index())
    add(recent, 2, 1.0, 2.0)
    add(recent, 3, *losses)
    add(recent, 4, NAN, NAN)
    assert text(recent) == f"the loss became {said}, on worker 0"


def test_of_a_mean_all_its_rows_are_suspects() -> None:
    recent = RecentLosses(make_index())
    add(recent, 3, NAN, NAN, exact=False)
    assert text(recent).endswith("(epoch 1): one or more of rows 30, 31, on worker 0")


def test_the_step_is_given_by_its_place_so_that_it_can_be_left_out() -> None:
    recent = RecentLosses(make_index())
    add(recent, 3, 1.0, NAN)
    error = recent.explain(NAN, step=9, epoch=0)
    assert (error.place, error.rows) == (2, (31,))
    nothing = RecentLosses(make_index()).explain(NAN, step=9, epoch=0)
    assert (nothing.place, nothing.rows) == (None, ())


def test_rows_are_found_in_their_files() -> None:
    recent = RecentLosses(make_index((35, 30)))
    add(recent, 3, *[1.0] * 6, NAN)
    assert str(recent.explain(NAN, step=3, epoch=0)).splitlines()[1:] == [
        "  row 36 is row 1 of /data/part-1.parquet"
    ]


def test_what_was_reported_is_forgotten() -> None:
    recent = RecentLosses(make_index())
    add(recent, 3, NAN)
    recent.forget()
    add(recent, 4, NAN)
    assert "step 4" in text(recent)


def test_however_rarely_it_is_reported_only_some_steps_are_kept() -> None:
    recent = RecentLosses(make_index((20_000,)))
    kept = []
    for step in range(1200):
        add(recent, step, NAN if step in (7, 900) else 1.0)
        kept.append(len(recent._kept))
    assert max(kept) < 500
    assert "in step 7 " in text(recent)
