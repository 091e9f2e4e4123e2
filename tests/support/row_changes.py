"""Transforms that change the number of rows, for tests; all decide by the column `id` alone."""

import random

import numpy as np
from numpy.typing import NDArray

Batch = dict[str, NDArray[np.generic]]


def some(batch: Batch, of: int = 3) -> NDArray[np.bool_]:
    """A filter: drops every `of`-th row."""
    return batch["id"] % of != 0


def none(batch: Batch) -> NDArray[np.bool_]:
    """A filter that keeps nothing."""
    return np.zeros(len(batch["id"]), dtype=bool)


def some_by_chance(batch: Batch) -> NDArray[np.bool_]:
    """A filter that must not be: it depends on when it is called."""
    return np.array([random.SystemRandom().random() < 0.5 for _ in batch["id"]])


def copies(batch: Batch) -> tuple[Batch, NDArray[np.int64]]:
    """A flat_map: of row i there come i modulo 4 samples, each with its number."""
    counts = batch["id"] % 4
    made = {name: np.repeat(column, counts, axis=0) for name, column in batch.items()}
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    made["copy"] = np.arange(int(counts.sum())) - starts
    return made, counts


def tokens(batch: Batch) -> dict[str, list[NDArray[np.int64]]]:
    """To be packed: row i has i modulo 7 tokens, 100 i + 1 and so on."""
    found = [100 * number + 1 + np.arange(number % 7) for number in batch["id"].tolist()]
    return {"token": found, "negative": [-token for token in found]}


def draw(batch: Batch, rng: object) -> Batch:
    """Random numbers of each sample."""
    return {**batch, "drawn": rng.random()}  # type: ignore[attr-defined]
