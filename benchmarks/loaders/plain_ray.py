"""Ray Data as its documentation shows it: read, map batches, shuffle, iterate; else defaults."""

import tempfile

import ray
import ray.data

from benchmarks.harness.drain import drain
from benchmarks.harness.repeat import Reading
from benchmarks.harness.symbols import find
from benchmarks.loaders.windows import count_rows


def run(
    *, data: str, work: str, batch: int, key: str, shuffle_rows: int, step_s: float = 0.0
) -> Reading:
    """One repetition of one epoch, with files in random order and a shuffle buffer."""
    with tempfile.TemporaryDirectory(prefix="ob") as folder:
        # By its address, so that it does not join a cluster that happens to be there.
        ray.init(address="local", log_to_driver=False, include_dashboard=False, _temp_dir=folder)
        ray.data.DataContext.get_current().enable_progress_bars = False
        try:
            batches = (
                ray.data.read_parquet(data, shuffle="files")
                .map_batches(find(work))
                .iter_torch_batches(batch_size=batch, local_shuffle_buffer_size=shuffle_rows)
            )
            return drain(batches, rows=count_rows(data), key=key, step_s=step_s)
        finally:
            ray.shutdown()
