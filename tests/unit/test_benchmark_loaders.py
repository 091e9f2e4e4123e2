"""The loaders that need no Ray: every row exactly once, and the sum of a column as proof of it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.harness.drain import drain
from benchmarks.harness.limits import at_once
from benchmarks.loaders import pool, torch_loader
from benchmarks.loaders.windows import (
    Columns,
    count_rows,
    find_make,
    plain_empty,
    plan_windows,
    read_window,
    to_arrays,
)
from benchmarks.workloads.tabular_work import KEY, preprocess, write_data

ROWS, GROUPS, EPOCHS, BATCH = 20_000, 3, 2, 512
# Python 3.12 warns of forks beside threads; the loaders are forked on purpose, as people do it.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
MAKE = "benchmarks.workloads.tabular_plain:make_window"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_data(tmp_path_factory.mktemp("data"), rows=ROWS))


@pytest.fixture(autouse=True)
def _make_leaves_memory_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # How the C library keeps memory is a process's own affair, and this one runs other tests, too.
    monkeypatch.setattr("benchmarks.loaders.windows.keep_freed_memory", lambda: True)


def test_windows_cover_every_row_group_once_an_epoch(data: str) -> None:
    windows = plan_windows(data, groups=GROUPS, epochs=EPOCHS)
    groups = [group for window in windows for group in window.groups]
    assert len(groups) == 16 * EPOCHS
    for epoch in range(EPOCHS):
        assert len(set(groups[epoch * 16 : (epoch + 1) * 16])) == 16
    assert groups[:16] != groups[16:]
    assert len({window.seed for window in windows}) == len(windows)


def test_windows_want_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no \*\.parquet file"):
        plan_windows(str(tmp_path), groups=1, epochs=1)


def test_a_window_is_what_preprocess_makes_of_its_rows_in_another_order(data: str) -> None:
    (window, *_) = plan_windows(data, groups=GROUPS, epochs=1)
    made = find_make(MAKE)(window, plain_empty)
    wanted = preprocess(to_arrays(read_window(window)))
    assert not np.array_equal(made[KEY], wanted[KEY])
    got, whole = np.argsort(made[KEY]), np.argsort(wanted[KEY])
    np.testing.assert_array_equal(made[KEY][got], wanted[KEY][whole])
    np.testing.assert_array_equal(made["x"][got], wanted["x"][whole])


def test_gaps_are_nan(data: str) -> None:
    table = pq.read_table(next(Path(data).glob("*.parquet")))
    assert table["x00"].null_count > 0
    assert np.isnan(to_arrays(table)["x00"]).sum() == table["x00"].null_count


@pytest.mark.parametrize("mode", ["batches", "views", "windows"])
def test_the_dataloader_brings_every_row_once(data: str, mode: torch_loader.Mode) -> None:
    windows = plan_windows(data, groups=GROUPS, epochs=EPOCHS)
    batches = torch_loader.load(windows, MAKE, batch=BATCH, mode=mode, workers=2, prefetch=2)
    _assert_all_rows({name: each.numpy() for name, each in batch.items()} for batch in batches)


@pytest.mark.parametrize("mode", ["pipe", "ring"])
def test_the_pool_brings_every_row_once(data: str, mode: pool.Mode) -> None:
    windows = plan_windows(data, groups=GROUPS, epochs=EPOCHS)
    _assert_all_rows(pool.load(windows, MAKE, batch=BATCH, workers=2, mode=mode))


def test_the_checksum_is_the_sum_of_all_rows(data: str) -> None:
    windows = plan_windows(data, groups=GROUPS, epochs=EPOCHS)
    batches = pool.load(windows, MAKE, batch=BATCH, workers=1, mode="ring")
    reading = drain(batches, rows=count_rows(data) * EPOCHS, key=KEY)
    assert reading["checksum"] == EPOCHS * ROWS * (ROWS - 1) / 2


def test_a_limit_adds_up_its_processes(data: str) -> None:
    arguments = {"data": data, "groups": GROUPS}
    call = "benchmarks.workloads.tabular_plain:whole_work"
    assert at_once(call=call, arguments=arguments, processes=2, seconds=0.01)["rows_per_s"] > 0


def _assert_all_rows(batches: Iterator[Columns]) -> None:
    # Copies: a batch of the ring is good until the next one.
    seen = [(batch[KEY].copy(), batch["x"].copy()) for batch in batches]
    labels = np.concatenate([label for label, _ in seen])
    np.testing.assert_array_equal(np.bincount(labels), np.full(ROWS, EPOCHS))
    assert max(len(label) for label, _ in seen) == BATCH
    # Rows keep their features: those of one label are the same in both epochs.
    x = np.concatenate([features for _, features in seen])[np.argsort(labels, kind="stable")]
    np.testing.assert_array_equal(x[::2], x[1::2])
