"""Torch's DataLoader over windows: batches from the workers, or whole windows cut by the consumer.

Modes:
    batches: workers yield batches, as most people do it; each is copied into shared memory.
    views: workers yield batches that are views of a window in shared memory; only handles travel.
    windows: workers yield whole windows in shared memory, and the consumer cuts them.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from benchmarks.harness.drain import drain
from benchmarks.harness.repeat import Reading
from benchmarks.loaders.windows import (
    Window,
    count_rows,
    find_make,
    plain_empty,
    plan_windows,
)

Mode: TypeAlias = Literal["batches", "views", "windows"]
Tensors: TypeAlias = dict[str, Tensor]


class SharedColumns:
    """Makes arrays in memory that the consumer can map, and keeps them as tensors."""

    def __init__(self) -> None:
        self.tensors: Tensors = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[np.generic]:
        kind = np.dtype(dtype)
        # What torch's own collate functions use; share_memory_ would write every byte once more.
        storage = torch.UntypedStorage._new_shared(int(np.prod(shape)) * kind.itemsize)
        flat = torch.empty(0, dtype=torch.uint8).set_(storage)
        like = torch.from_numpy(np.empty(0, kind)).dtype
        self.tensors[name] = flat.view(like).reshape(shape)
        array: NDArray[np.generic] = self.tensors[name].numpy()
        return array


class WindowDataset(IterableDataset[Tensors]):
    """A worker's windows, every n-th of the list, as whole ones or in batches."""

    def __init__(self, windows: Sequence[Window], make: str, *, batch: int, mode: Mode) -> None:
        self._windows = windows
        self._make = make
        self._batch = batch
        self._mode = mode

    def __iter__(self) -> Iterator[Tensors]:
        worker = get_worker_info()
        if worker is None:
            raise ValueError("WindowDataset: num_workers is 0, wanted worker processes")
        make = find_make(self._make)
        for window in self._windows[worker.id :: worker.num_workers]:
            if self._mode == "batches":
                columns = make(window, plain_empty)
                # Anew from each slice, so that not the whole window goes with each batch.
                for start in range(0, len(next(iter(columns.values()))), self._batch):
                    part = slice(start, start + self._batch)
                    yield {name: torch.from_numpy(each[part]) for name, each in columns.items()}
                continue
            shared = SharedColumns()
            make(window, shared)
            yield from (
                [shared.tensors]
                if self._mode == "windows"
                else cut_tensors(shared.tensors, self._batch)
            )


def cut_tensors(columns: Tensors, batch: int) -> Iterator[Tensors]:
    """Batches as views; the last one may be shorter."""
    split = {name: column.split(batch) for name, column in columns.items()}
    for parts in zip(*split.values(), strict=True):
        yield dict(zip(split, parts, strict=True))


def load(
    windows: Sequence[Window], make: str, *, batch: int, mode: Mode, workers: int, prefetch: int
) -> Iterator[Tensors]:
    """All batches of the windows."""
    loader: DataLoader[Tensors] = DataLoader(
        WindowDataset(windows, make, batch=batch, mode=mode),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=prefetch,
        persistent_workers=True,
    )
    for item in loader:
        if mode == "windows":
            yield from cut_tensors(item, batch)
        else:
            yield item


def run(
    *,
    data: str,
    make: str,
    batch: int,
    key: str,
    workers: int,
    mode: Mode,
    groups: int,
    epochs: int = 1,
    step_s: float = 0.0,
    prefetch: int | None = None,
) -> Reading:
    """One repetition. Windows are fetched one ahead for each worker, batches by the dozen."""
    ahead = prefetch or (2 if mode == "windows" else 16)
    windows = plan_windows(data, groups=groups, epochs=epochs)
    batches = load(windows, make, batch=batch, mode=mode, workers=workers, prefetch=ahead)
    return drain(batches, rows=count_rows(data) * epochs, key=key, step_s=step_s)
