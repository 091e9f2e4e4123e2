"""Transforms for tests."""

import numpy as np

from orchestrator import RowRandom

Batch = dict[str, np.ndarray]


def jitter(batch: Batch, rng: RowRandom, scale: float = 0.01) -> Batch:
    """Adds noise that belongs to the row and the epoch."""
    x = batch["x"]
    noise = rng.normal(0.0, scale, x.shape[1:])
    return {**batch, "x": (x + noise).astype(np.float32)}


class Shift:
    """Adds a constant; a class, as models and tokenizers are."""

    def __init__(self, by: float) -> None:
        self._by = np.float32(by)

    def __call__(self, batch: Batch) -> Batch:
        return {**batch, "x": batch["x"] + self._by}


def refuse(batch: Batch) -> Batch:
    """Fails on one row of the data, as a user's transform would."""
    if (batch["id"] == 17).any():
        raise ValueError("row seventeen is cursed")
    return batch
