"""The data of the image workload, and what is done to it: the same functions for all loaders.

Photos that come with scikit-learn and scikit-image, cropped to thousands of JPEGs of 256 px.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg
from numpy.typing import NDArray

from orchestrator.data.random import RowRandom

Columns = dict[str, NDArray[np.generic]]
Images = NDArray[np.uint8]
Draws = NDArray[np.float64]

KEY = "label"
SOURCE_PX, PX = 256, 224
# Random numbers of an image: area, shape, place (two), flip.
DRAWS = 5
_LEAST_AREA = 0.08
_LARGEST_RATIO = 4 / 3
_QUALITY = 90
# In the folders of the two packages; those that are large enough, and come with the packages.
_SCIKIT_IMAGE = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "rocket.jpg",
)
# One thread a process, in all loaders: the cores are busy with other images.
cv2.setNumThreads(1)


def augment(jpegs: Sequence[bytes], draws: Draws, out: Images) -> None:
    """Decodes each image, crops it at random, resizes that to `PX`, and flips every other one.

    Args:
        draws: numbers in [0, 1), float64 [images, DRAWS].
        out: where the images go, uint8 [images, PX, PX, 3].
    """
    for jpeg, numbers, place in zip(jpegs, draws.tolist(), out, strict=True):
        image = decode(jpeg)
        top, left, height, width = random_crop(image.shape[0], image.shape[1], numbers)
        crop = image[top : top + height, left : left + width]
        cv2.resize(crop, (PX, PX), dst=place, interpolation=cv2.INTER_LINEAR)
        if numbers[4] < 0.5:
            cv2.flip(place, 1, dst=place)


def decode(jpeg: bytes) -> Images:
    """An image as uint8 [height, width, 3]."""
    image: Images = simplejpeg.decode_jpeg(jpeg)
    return image


def random_crop(height: int, width: int, draws: Sequence[float]) -> tuple[int, int, int, int]:
    """Top, left, height and width: a part of the area, of a shape between 3:4 and 4:3.

    A crop that would be larger than the image is cut to it, instead of being drawn again.
    """
    area = height * width * (_LEAST_AREA + (1 - _LEAST_AREA) * draws[0])
    ratio = _LARGEST_RATIO ** (2 * draws[1] - 1)
    wide = min(width, round(math.sqrt(area * ratio)))
    high = min(height, round(math.sqrt(area / ratio)))
    top, left = int(draws[2] * (height - high + 1)), int(draws[3] * (width - wide + 1))
    return top, left, high, wide


def transform(batch: Columns, rng: RowRandom) -> Columns:
    """The work as a transform of ours, with the rows' own random numbers."""
    image = np.empty((len(batch[KEY]), PX, PX, 3), np.uint8)
    augment(batch["jpeg"].tolist(), rng.random(DRAWS), image)
    return {"image": image, KEY: batch[KEY]}


def write_data(folder: Path, *, images: int, row_group: int = 128, files: int = 4) -> Path:
    """Parquet files with an image's bytes and its number. Written once: what is there is kept."""
    target = folder / f"images-{images}"
    if target.exists():
        return target
    staging = folder / f"images-{images}.part"
    staging.mkdir(parents=True, exist_ok=True)
    rng, photos = np.random.default_rng(0), find_photos()
    for file, labels in enumerate(np.array_split(np.arange(images), files)):
        jpegs = [_random_jpeg(photos[label % len(photos)], rng) for label in labels]
        table = pa.table({"jpeg": pa.array(jpegs, pa.binary()), KEY: labels})
        pq.write_table(
            table, staging / f"part-{file}.parquet", row_group_size=row_group, compression="none"
        )
    staging.rename(target)
    return target


def find_photos() -> list[Images]:
    """The photos, uint8 [height, width, 3]."""
    import skimage
    import sklearn.datasets

    folder = Path(skimage.__file__).parent / "data"
    found: list[Images] = list(sklearn.datasets.load_sample_images().images)
    for name in _SCIKIT_IMAGE:
        if (folder / name).exists():
            photo = cv2.imread(str(folder / name), cv2.IMREAD_COLOR_RGB)
            found.append(np.asarray(photo, dtype=np.uint8))
    return found


def _random_jpeg(photo: Images, rng: np.random.Generator) -> bytes:
    top, left = (int(rng.integers(size - SOURCE_PX + 1)) for size in photo.shape[:2])
    crop = np.ascontiguousarray(photo[top : top + SOURCE_PX, left : left + SOURCE_PX])
    jpeg: bytes = simplejpeg.encode_jpeg(crop, quality=_QUALITY, colorsubsampling="420")
    return jpeg
