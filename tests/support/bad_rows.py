"""Tables with bad rows and transforms that fail on them, for tests."""

import io
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from orchestrator import RowRandom

Batch = dict[str, NDArray[np.generic]]


def is_bad(row: int, of: int = 10) -> bool:
    """Whether `picky` fails on a row: some neighbours, some alone."""
    return row % of in (3, 4) or row == 0


def picky(batch: Batch, of: int = 10) -> Batch:
    """Fails on some rows, as a decoder does on bytes that make no sense."""
    for number in batch["id"].tolist():
        if is_bad(number, of):
            raise ValueError(f"row {number} makes no sense")
    return {**batch, "seen": batch["id"].copy()}


def truncated(batch: Batch) -> Batch:
    """Fails on row 7 as Pillow does on a cut image: with an OSError that has no number."""
    if (batch["id"] == 7).any():
        raise OSError("image file is truncated (12 bytes not processed)")
    return batch


def unreachable(batch: Batch, log: str) -> Batch:
    """Fails on row 7 as a connection does, each time; counts the calls."""
    if (batch["id"] == 7).any():
        with Path(log).open("a") as file:
            file.write("x")
        raise ValueError("no image") from ConnectionResetError(104, "reset by peer")
    return batch


def unreachable_once(batch: Batch, log: str) -> Batch:
    """Fails on row 7 at the first call, as storage that has its moments."""
    if (batch["id"] == 7).any() and not Path(log).exists():
        Path(log).touch()
        raise TimeoutError("no answer")
    return batch


def together(batch: Batch) -> Batch:
    """Fails on any two rows of which one is row 7, but not on that one alone."""
    if (batch["id"] == 7).any() and len(batch["id"]) > 1:
        raise ValueError("rows of two shapes")
    return batch


def unlucky(batch: Batch, rng: RowRandom) -> Batch:
    """Draws; fails by the draw of row 5, which is another one in each epoch."""
    drawn = rng.random()
    for number, value in zip(batch["id"].tolist(), drawn.tolist(), strict=True):
        if number == 5 and value > 0.0:
            raise ValueError("bad luck")
    return batch


def killed_once(batch: Batch, log: str) -> Batch:
    """Takes its process along at the first call, and fails on some rows."""
    if not Path(log).exists():
        Path(log).touch()
        os._exit(1)
    return picky(batch)


def decoded_once_killed(batch: Batch, log: str) -> Batch:
    """Adds the brightness of a JPEG to x; takes its process along at the first call of all."""
    if not Path(log).exists():
        Path(log).touch()
        os._exit(1)
    light = np.array([_brightness(image) for image in batch["image"]], dtype=np.float32)
    return {"id": batch["id"], "label": batch["label"], "x": batch["x"] + light[:, None]}


def _brightness(image: bytes) -> float:
    with Image.open(io.BytesIO(image)) as opened:
        return float(np.asarray(opened.convert("L")).mean()) / 255


class Mean:
    """A fitted transform: keeps the mean of `id` over the rows that it was given."""

    def __init__(self) -> None:
        self._mean = 0.0

    def measure(self, batch: Batch) -> list[int]:
        return [int(value) for value in batch["id"]]

    def fit(self, measures: Iterable[list[int]]) -> dict[str, object]:
        rows = [row for measure in measures for row in measure]
        return {"rows": rows}

    def load(self, state: dict[str, list[int]]) -> None:
        self._mean = float(np.mean(state["rows"]))

    def __call__(self, batch: Batch) -> Batch:
        return {**batch, "centred": batch["id"] - self._mean}


def write_ids(folder: Path, rows: int, *, row_group: int = 20) -> Path:
    """Numbered rows in one file, in row groups of the same size."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table({"id": np.arange(rows)})
    pq.write_table(table, folder / "a.parquet", row_group_size=row_group, compression="snappy")
    return folder


def add_images(file: Path, *, row_group: int, bad: Iterable[int] = ()) -> None:
    """Gives each row of a file a JPEG; that of a bad row, by `id`, is cut or no image at all."""
    table, images = pq.read_table(file), []
    for number in table["id"].to_pylist():
        sink = io.BytesIO()
        Image.new("RGB", (16, 16), (number % 256, 9, 9)).save(sink, "JPEG")
        image = sink.getvalue()
        if number in set(bad):
            image = image[:200] if number % 2 else b"no image"
        images.append(image)
    made = table.append_column("image", pa.array(images, pa.binary()))
    pq.write_table(made, file, row_group_size=row_group, compression="snappy")


def spoil_group(file: Path, group: int) -> None:
    """Overwrites the pages of a row group; the footer stays as it is."""
    column = pq.read_metadata(file).row_group(group).column(0)
    start = min(filter(None, (column.dictionary_page_offset, column.data_page_offset)))
    with file.open("r+b") as opened:
        opened.seek(start)
        opened.write(b"\xff" * column.total_compressed_size)
