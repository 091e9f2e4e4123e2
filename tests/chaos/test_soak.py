"""The soak, as short as it can be: each kind of fault once."""

from pathlib import Path

import pytest

from tests.chaos.soak import soak


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_round_of_all_faults_costs_not_one_bit_and_leaves_nothing(tmp_path: Path) -> None:
    lines: list[str] = []
    checks = soak(tmp_path, minutes=1.0, seed=1, say=lines.append)
    assert [check.what for check in checks if not check.holds] == []
    assert sum(": killed " in line or ": interrupted" in line for line in lines) >= 8
