"""Many small rows and the smallest model, for measurements in which only the stream counts."""

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor, nn
from torch.nn import functional

from orchestrator import TrainTask

FEATURES = 4


class TinyTask(TrainTask):
    """One layer, which sorts rows into two classes, in steps that take at least so long."""

    def __init__(self, step_s: float = 0.0) -> None:
        self._step_s = step_s

    def build_model(self) -> nn.Module:
        return nn.Linear(FEATURES, 2)

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        time.sleep(self._step_s)
        scores = model(batch["x"])
        return functional.cross_entropy(scores, batch["label"], reduction="none"), {}


def write_rows(folder: Path, rows: int, *, files: int = 8, row_group: int = 8_192) -> None:
    """Rows numbered in the column id, with features x and a label, in Parquet files."""
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(0)
    for file, ids in enumerate(np.array_split(np.arange(rows), files)):
        x = numbers.normal(size=(len(ids), FEATURES)).astype(np.float32)
        table = pa.table(
            {
                "id": ids,
                "x": pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), FEATURES),
                "label": (x.sum(axis=1) > 0).astype(np.int64),
            }
        )
        pq.write_table(table, folder / f"part-{file}.parquet", row_group_size=row_group)
