"""tf.data over windows: its threads call the same function, and its own operations cut batches.

TensorFlow lives in an environment of its own, so nothing here may need torch or Ray.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from benchmarks.harness.drain import drain
from benchmarks.harness.repeat import Reading
from benchmarks.loaders.windows import (
    Columns,
    Window,
    count_rows,
    find_make,
    plain_empty,
    plan_windows,
)

# Finished batches that wait for the consumer.
_READY = 16


def load(windows: Sequence[Window], make: str, *, batch: int, workers: int) -> Iterator[Columns]:
    """All batches of the windows; the first window is made once more, for its columns' kinds."""
    made = find_make(make)
    like = made(windows[0], plain_empty)
    kinds = [tf.as_dtype(column.dtype) for column in like.values()]

    def finish(number: "tf.Tensor") -> "dict[str, tf.Tensor]":
        columns = tf.numpy_function(_values, [number], kinds, stateful=False)
        for column, wanted in zip(columns, like.values(), strict=True):
            column.set_shape([None, *wanted.shape[1:]])
        return dict(zip(like, columns, strict=True))

    def _values(number: np.int64) -> list[object]:
        return list(made(windows[int(number)], plain_empty).values())

    options = tf.data.Options()
    options.threading.private_threadpool_size = workers
    dataset = (
        tf.data.Dataset.range(len(windows))
        .map(finish, num_parallel_calls=workers, deterministic=False)
        .rebatch(batch)
        .prefetch(_READY)
        .with_options(options)
    )
    batches: Iterator[Columns] = dataset.as_numpy_iterator()
    return batches


def run(
    *, data: str, make: str, batch: int, key: str, workers: int, groups: int, epochs: int
) -> Reading:
    """One repetition."""
    windows = plan_windows(data, groups=groups, epochs=epochs)
    batches = load(windows, make, batch=batch, workers=workers)
    return drain(batches, rows=count_rows(data) * epochs, key=key)
