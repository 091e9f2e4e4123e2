"""JPEG decoders, to find the fastest: each decodes the same bytes in one process."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Decode = Callable[[bytes], Images]
# Enough for half a second, and more than a cache holds.
_IMAGES = 512


def decode_work(data: str, decoder: str) -> Callable[[], int]:
    """Part after part: the first images of the data decoded, which lie in memory."""
    table = pq.read_table(min(Path(data).glob("*.parquet")), columns=["jpeg"])
    jpegs = list(islice(table["jpeg"].to_pylist(), _IMAGES))
    decode = DECODERS[decoder]()

    def work() -> int:
        for jpeg in jpegs:
            decode(jpeg)
        return len(jpegs)

    return work


def installed() -> list[str]:
    """The decoders that are there."""
    return [name for name in DECODERS if find_spec(_PACKAGES[name])]


def _simplejpeg() -> Decode:
    import simplejpeg

    decode: Decode = simplejpeg.decode_jpeg
    return decode


def _opencv() -> Decode:
    import cv2

    cv2.setNumThreads(1)

    def decode(jpeg: bytes) -> Images:
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
        return np.asarray(image, np.uint8)

    return decode


def _pillow() -> Decode:
    from PIL import Image

    def decode(jpeg: bytes) -> Images:
        with Image.open(BytesIO(jpeg)) as image:
            return np.asarray(image.convert("RGB"))

    return decode


def _imagecodecs() -> Decode:
    import imagecodecs

    decode: Decode = imagecodecs.jpeg8_decode
    return decode


DECODERS: Mapping[str, Callable[[], Decode]] = {
    "simplejpeg": _simplejpeg,
    "OpenCV": _opencv,
    "Pillow": _pillow,
    "imagecodecs": _imagecodecs,
}
_PACKAGES = {
    "simplejpeg": "simplejpeg",
    "OpenCV": "cv2",
    "Pillow": "PIL",
    "imagecodecs": "imagecodecs",
}
