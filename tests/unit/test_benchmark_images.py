"""The work of the image benchmark: what is cropped, and every image exactly once."""

from pathlib import Path

import numpy as np
import pytest

from orchestrator.data.random import RowRandom

for package in ("cv2", "simplejpeg", "skimage", "sklearn"):
    pytest.importorskip(package, reason="the extra `bench` is not installed")

# Only where the packages are there.
from benchmarks.loaders.windows import plain_empty, plan_windows  # noqa: E402 - after importorskip
from benchmarks.workloads.images_plain import make_window  # noqa: E402 - after importorskip
from benchmarks.workloads.images_work import (  # noqa: E402 - after importorskip
    DRAWS,
    KEY,
    PX,
    augment,
    random_crop,
    transform,
    write_data,
)

IMAGES = 24


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"), images=IMAGES, row_group=4)


def test_every_image_once_and_finished(data: Path) -> None:
    windows = plan_windows(str(data), groups=2, epochs=1)
    made = [make_window(window, plain_empty) for window in windows]
    labels = np.concatenate([columns[KEY] for columns in made])
    np.testing.assert_array_equal(np.sort(labels), np.arange(IMAGES))
    for columns in made:
        assert columns["image"].shape == (len(columns[KEY]), PX, PX, 3)
        assert columns["image"].dtype == np.uint8
        assert columns["image"].std(axis=(1, 2, 3)).min() > 0


def test_crops_stay_inside() -> None:
    draws = np.random.default_rng(0).random((1_000, DRAWS))
    for numbers in [*draws, np.zeros(DRAWS), np.full(DRAWS, 1 - 1e-12)]:
        top, left, height, width = random_crop(200, 300, numbers)
        assert 0 <= top <= top + height <= 200
        assert 0 <= left <= left + width <= 300
        assert min(height, width) > 0


def test_a_flipped_image_is_the_mirror_of_the_other(data: Path) -> None:
    import pyarrow.parquet as pq

    jpeg = pq.read_table(next(data.glob("*.parquet")))["jpeg"][0].as_py()
    draws = np.full((2, DRAWS), 0.5)
    draws[0, 4], draws[1, 4] = 0.4, 0.6
    out = np.empty((2, PX, PX, 3), np.uint8)
    augment([jpeg, jpeg], draws, out)
    np.testing.assert_array_equal(out[0], out[1, :, ::-1])


def test_our_transform_draws_by_the_row(data: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(next(data.glob("*.parquet")))
    batch = {"jpeg": np.array(table["jpeg"].to_pylist(), object), KEY: table[KEY].to_numpy()}
    rows = batch[KEY]
    whole = transform(batch, RowRandom(0, 0, rows))["image"]
    last = {name: column[-1:] for name, column in batch.items()}
    np.testing.assert_array_equal(transform(last, RowRandom(0, 0, rows[-1:]))["image"], whole[-1:])
