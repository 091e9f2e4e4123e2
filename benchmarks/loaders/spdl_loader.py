"""SPDL over windows: threads of one process make them, since numpy and Arrow let go of the GIL."""

from collections.abc import Iterator, Sequence

from spdl.pipeline import PipelineBuilder

from benchmarks.harness.drain import drain
from benchmarks.harness.repeat import Reading
from benchmarks.loaders.windows import (
    Columns,
    Window,
    count_rows,
    cut_batches,
    find_make,
    plain_empty,
    plan_windows,
)

# Finished windows that wait for the consumer.
_READY = 2


def load(windows: Sequence[Window], make: str, *, batch: int, workers: int) -> Iterator[Columns]:
    """All batches of the windows, as views of the windows' arrays."""
    made = find_make(make)

    def finish(window: Window) -> Columns:
        return made(window, plain_empty)

    pipeline = (
        PipelineBuilder()
        .add_source(windows)
        .pipe(finish, concurrency=workers)
        .add_sink(_READY)
        .build(num_threads=workers)
    )
    with pipeline.auto_stop():
        for columns in pipeline:
            yield from cut_batches(columns, batch)


def run(
    *, data: str, make: str, batch: int, key: str, workers: int, groups: int, epochs: int
) -> Reading:
    """One repetition."""
    windows = plan_windows(data, groups=groups, epochs=epochs)
    batches = load(windows, make, batch=batch, workers=workers)
    return drain(batches, rows=count_rows(data) * epochs, key=key)
