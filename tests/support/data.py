"""Tables of numbered rows for tests."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.task import CLASSES, FEATURES


def write_rows(folder: Path, rows: int, *, files: int = 2, row_group: int = 50) -> Path:
    """Rows numbered 0..rows-1 in Parquet files: id, x [8] and a label that x decides."""
    folder.mkdir(parents=True)
    x = np.random.default_rng(5).normal(size=(rows, FEATURES)).astype(np.float32)
    label = (x[:, 0] > 0).astype(np.int64) + 2 * (x[:, 1] > 0)
    assert label.max() < CLASSES
    for number, ids in enumerate(np.array_split(np.arange(rows), files)):
        table = pa.table(
            {
                "id": ids,
                "x": pa.FixedSizeListArray.from_arrays(pa.array(x[ids].ravel()), FEATURES),
                "label": label[ids],
            }
        )
        pq.write_table(table, folder / f"part-{number}.parquet", row_group_size=row_group)
    return folder
