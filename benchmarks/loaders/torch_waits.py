"""Torch's DataLoader over the work that is a wait: batches made by its workers."""

from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler

from benchmarks.harness.drain import drain
from benchmarks.harness.repeat import Reading
from benchmarks.workloads.waiting_work import SECONDS, wait


class _Batches(Dataset[dict[str, Tensor]]):
    """A row group is a batch."""

    def __init__(self, data: Path) -> None:
        self._paths = sorted(data.glob("*.parquet"))
        metadata = [pq.read_metadata(path) for path in self._paths]
        self._places = [
            (file, group)
            for file, each in enumerate(metadata)
            for group in range(each.num_row_groups)
        ]
        self.rows = sum(each.num_rows for each in metadata)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        file, group = self._places[number]
        table = self._files[file].read_row_group(group, use_threads=False)
        # A copy, for arrow's own memory is not to be written to, and torch warns of that.
        columns = {name: np.array(table[name]) for name in table.column_names}
        return {name: torch.from_numpy(column) for name, column in wait(columns).items()}

    @cached_property
    def _files(self) -> list[pq.ParquetFile]:
        """Opened once in each worker, not in the process that forks them."""
        return [pq.ParquetFile(path) for path in self._paths]


def run(*, data: str, workers: int, prefetch: int = 2, until: float = 1.0) -> Reading:
    """One repetition, on batches in random order.

    Args:
        prefetch: batches that each worker may be ahead; 2 is the default of torch.
    """
    batches = _Batches(Path(data))
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=RandomSampler(batches, generator=torch.Generator().manual_seed(0)),
        num_workers=workers,
        prefetch_factor=prefetch,
    )
    torch.set_num_threads(1)
    return drain(loader, rows=batches.rows, key=SECONDS, until=until)
