"""Transforms for tests."""

import os
import random
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

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


class Reused:
    """Gives its rows in arrays that it writes into again in the next call, as fast code does."""

    def __init__(self) -> None:
        self._id = np.empty(0, dtype=np.int64)
        self._x = np.empty((0, 2))

    def __call__(self, batch: Batch) -> Batch:
        rows = len(batch["id"])
        if rows > len(self._id):
            self._id, self._x = np.empty(rows, dtype=np.int64), np.empty((rows, 2))
        self._id[:rows] = batch["id"]
        self._x[:rows] = batch["id"][:, None]
        return {"id": self._id[:rows], "x": self._x[:rows]}


def refuse(batch: Batch) -> Batch:
    """Fails on one row of the data, as a user's transform would."""
    if (batch["id"] == 17).any():
        raise ValueError("row seventeen is cursed")
    return batch


def crash(batch: Batch) -> Batch:
    """Takes its process along on one row, as a bug in compiled code does."""
    if (batch["id"] == 17).any():
        os.kill(os.getpid(), signal.SIGSEGV)
    return batch


def leave(batch: Batch) -> Batch:
    """Calls exit on one row."""
    if (batch["id"] == 17).any():
        sys.exit("no row seventeen, please")
    return batch


class Centre:
    """Subtracts the mean of x over the training rows; measuring takes a while by chance."""

    def __init__(self, pause_s: float = 0.0, log: str = "") -> None:
        self._pause_s = pause_s
        self._log = log
        self._mean = np.zeros(0)

    def measure(self, batch: Batch) -> dict[str, np.ndarray | int]:
        time.sleep(random.uniform(0.0, self._pause_s))
        if self._log:
            with Path(self._log).open("a") as file:
                file.write(f"{batch['id'].min()}-{batch['id'].max()} {os.getpid()}\n")
        # Sums of floats depend on their order, as other code must not.
        return {"rows": len(batch["x"]), "sum": batch["x"].sum(axis=0, dtype=np.float32)}

    def fit(self, measures: Iterable[dict[str, np.ndarray | int]]) -> dict[str, object]:
        total, rows = np.zeros(8, dtype=np.float32), 0
        for measure in measures:
            total, rows = total + measure["sum"], rows + measure["rows"]
        return {"mean": (total / rows).tolist(), "rows": rows}

    def load(self, state: dict[str, object]) -> None:
        self._mean = np.array(state["mean"], dtype=np.float32)

    def __call__(self, batch: Batch) -> Batch:
        return {**batch, "x": batch["x"] - self._mean}


class CannotMeasure(Centre):
    """Fails to measure one row."""

    def measure(self, batch: Batch) -> dict[str, np.ndarray | int]:
        if (batch["id"] == 117).any():
            raise ValueError("row 117 has no measure")
        return super().measure(batch)


class CannotFit(Centre):
    """Fails to make a state."""

    def fit(self, measures: Iterable[dict[str, np.ndarray | int]]) -> dict[str, object]:
        raise ValueError("there is no mean")


class FitsNan(Centre):
    """Makes a state that JSON does not have."""

    def fit(self, measures: Iterable[dict[str, np.ndarray | int]]) -> dict[str, object]:
        return {"mean": [1.0, float("nan")]}


class CannotLoad(Centre):
    """Does not take its own state."""

    def load(self, state: dict[str, object]) -> None:
        raise KeyError("median")


class Ids(Centre):
    """Its measures are the numbers of the rows."""

    def measure(self, batch: Batch) -> list[int]:
        return batch["id"].tolist()


class CannotSend(Centre):
    """Its measures are of a kind that does not travel."""

    def measure(self, batch: Batch) -> Iterator[int]:
        return (value for value in batch["id"])


class Spoils(Centre):
    """Writes into the batch that it measures."""

    def measure(self, batch: Batch) -> float:
        batch["x"] += 1.0
        return float(batch["x"].sum())


class CrashesMeasuring(Centre):
    """Takes its process along when it measures."""

    def measure(self, batch: Batch) -> float:
        os._exit(0)


def linger(batch: Batch, until: int, seconds: float) -> Batch:
    """Takes its time over the first rows of the data, and none over the others."""
    if (batch["id"] < until).any():
        time.sleep(seconds)
    return batch


def take_long(batch: Batch, row_s: float) -> Batch:
    """Takes its time over each row."""
    time.sleep(row_s * len(batch["id"]))
    return batch
