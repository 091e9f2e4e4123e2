"""Code of a job that needs a secret of its environment in every process, and prints none."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from tests.support.task import SmallTask


def needs_secret(batch: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """Passes rows on where the secret is there."""
    assert len(os.environ["MY_SECRET"]) == 14
    assert os.environ["MY_SETTING"] == "four"
    return batch


class Task(SmallTask):
    """Leaves a file for each process that has built its model with the secret there."""

    def __init__(self, stamps: str) -> None:
        super().__init__()
        self.stamps = Path(stamps)

    def build_model(self) -> nn.Module:
        assert os.environ["MY_SETTING"] == "four"
        (self.stamps / f"{os.getpid()}-{len(os.environ['MY_SECRET'])}").touch()
        return super().build_model()
