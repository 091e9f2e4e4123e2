"""Digits as the network wants them: normalised, and in training a little moved and turned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from orchestrator import RowRandom

SIDE = 8
# Over all pixels of the 1,437 training images, whose values go from 0 (paper) to 16 (ink).
MEAN = 4.88
STD = 6.02
# What lies beyond the edge of an image: a pixel without ink, normalised.
PAPER = -MEAN / STD


def normalise(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Make `image` [rows, 64] float32 [rows, 1, 8, 8] with mean 0 and deviation 1."""
    image = (batch["image"].astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
    return {**batch, "image": image.reshape(-1, 1, SIDE, SIDE)}


class Augment:
    """Move and turn each normalised image by its own small random amount.

    Args:
        shift: largest move along each axis, in pixels.
        degrees: largest turn about the centre, either way.
    """

    def __init__(self, shift: float = 1.0, degrees: float = 10.0) -> None:
        if shift < 0 or degrees < 0:
            raise ValueError(f"shift ({shift}) and degrees ({degrees}) must not be negative")
        self.shift = shift
        self.degrees = degrees

    def __call__(self, batch: dict[str, np.ndarray], rng: RowRandom) -> dict[str, np.ndarray]:
        """Replace `image`; the row's own draws decide, whatever rows stand beside it."""
        image = batch["image"]
        angle = np.deg2rad(rng.uniform(-self.degrees, self.degrees))
        down = rng.uniform(-self.shift, self.shift)
        right = rng.uniform(-self.shift, self.shift)
        y, x = source_points(angle, down=down, right=right)
        moved = sample_bilinear(image.reshape(-1, SIDE, SIDE), y=y, x=x)
        return {**batch, "image": moved.reshape(image.shape).astype(np.float32)}


def source_points(
    angle: np.ndarray, *, down: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where each output pixel comes from: y and x, [rows, 8, 8], in pixels of the input image."""
    centre = (SIDE - 1) / 2
    # Broadcast against rows: the grids are [1, 8, 1] and [1, 1, 8], the draws [rows, 1, 1].
    y = np.arange(SIDE)[None, :, None] - centre - down[:, None, None]
    x = np.arange(SIDE)[None, None, :] - centre - right[:, None, None]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    return cos * y - sin * x + centre, sin * y + cos * x + centre


def sample_bilinear(images: np.ndarray, *, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Read `images` [rows, 8, 8] at fractional points; beyond the edge there is paper."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), constant_values=PAPER)
    # With a margin of one pixel, a point far outside may be moved onto the rim: paper as well.
    y, x = np.clip(y + 1, 0, SIDE + 1), np.clip(x + 1, 0, SIDE + 1)
    top, left = np.minimum(np.floor(y), SIDE), np.minimum(np.floor(x), SIDE)
    v, u = y - top, x - left
    row = np.arange(len(images))[:, None, None]
    i, j = top.astype(np.intp), left.astype(np.intp)
    upper = padded[row, i, j] * (1 - u) + padded[row, i, j + 1] * u
    lower = padded[row, i + 1, j] * (1 - u) + padded[row, i + 1, j + 1] * u
    mixed: np.ndarray = upper * (1 - v) + lower * v
    return mixed
