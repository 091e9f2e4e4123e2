"""The flights job under six SIGKILLs: the command itself, with the steps of one seed."""

from itertools import pairwise
from pathlib import Path

import pytest

from tests.chaos.six_kills import APART, kill_steps, six_kills
from tests.support.runs import ROOT


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(
    not (ROOT / "data" / "flights").exists(), reason="`make flights` prepares the data"
)
def test_six_kills_cost_the_flights_not_one_bit(tmp_path: Path) -> None:
    lines: list[str] = []
    compared = six_kills(tmp_path, seed=1, say=lines.append)
    assert compared.exact
    assert compared.attempts == 6
    assert sum(": killed " in line for line in lines) == 6


def test_kills_are_apart_and_leave_steps_to_train_after_them() -> None:
    for seed in range(20):
        steps = [0, *kill_steps(seed, 360), 360]
        assert all(later - earlier >= APART for earlier, later in pairwise(steps))
