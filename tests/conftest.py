"""The tier of a test follows from its folder; what its machine lacks, it skips."""

import os
from pathlib import Path

import hypothesis
import pytest

TESTS = Path(__file__).parent
# Under CI the same examples each time, so that a red build can be repeated; at home new ones.
hypothesis.settings.register_profile(
    "orchestrator", deadline=None, derandomize=bool(os.environ.get("CI"))
)
hypothesis.settings.load_profile("orchestrator")

TIERS = ("ray", "chaos", "gpu")
# Seconds for one test where no Ray has to start; the others have pyproject.toml's limit.
QUICK_LIMIT_S = 60


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        tier = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""
        if tier in TIERS:
            item.add_marker(tier)
        elif item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(QUICK_LIMIT_S))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not has_cuda():
        pytest.skip("needs a CUDA device")


def has_cuda() -> bool:
    # Here and not above: the other tiers need not wait for torch.
    import torch

    return torch.cuda.is_available()
