"""A rank's rows become tensors without a copy, and are cut without one."""

import re

import numpy as np
import pytest
import torch

from orchestrator.errors import JobFailedError
from orchestrator.train.batch import Columnar, MissingColumnError, micro_batches, to_tensors

CPU = torch.device("cpu")


def test_a_tensor_shares_the_memory_of_its_column() -> None:
    column = np.zeros((4, 2), dtype=np.float32)
    tensor = to_tensors({"x": column}, CPU)["x"]
    column[3, 1] = 7.0
    assert tensor[3, 1] == 7.0


def test_text_and_bytes_stay_behind() -> None:
    columns = {
        "text": np.array(["a", "b"], dtype=object),
        "fixed": np.array(["a", "b"]),
        "day": np.array(["2024-01-01", "2024-01-02"], dtype="datetime64[D]"),
        "flag": np.array([True, False]),
        "id": np.array([1, 2], dtype=np.uint8),
    }
    assert list(to_tensors(columns, CPU)) == ["flag", "id"]


def test_a_batch_without_a_numeric_column_is_refused_by_its_names() -> None:
    with pytest.raises(JobFailedError, match=r"no numeric column to work on; got \['name'\]"):
        to_tensors({"name": np.array(["a"], dtype=object)}, CPU)


@pytest.mark.parametrize(
    ("size", "pieces"),
    [
        (None, [[0, 1, 2, 3, 4]]),
        (1, [[0], [1], [2], [3], [4]]),
        (2, [[0], [1, 2], [3, 4]]),
        (5, [[0, 1, 2, 3, 4]]),
        (9, [[0, 1, 2, 3, 4]]),
    ],
)
def test_a_batch_is_cut_in_order_and_evenly(size: int | None, pieces: list[list[int]]) -> None:
    batch = Columnar({"x": torch.arange(5), "y": torch.arange(5) * 2})
    cut = micro_batches(batch, size)
    assert [piece["x"].tolist() for piece in cut] == pieces
    assert all(piece["y"].tolist() == [2 * i for i in piece["x"].tolist()] for piece in cut)


def test_pieces_are_views() -> None:
    batch = Columnar({"x": torch.arange(5)})
    piece = micro_batches(batch, 2)[1]["x"]
    assert piece.untyped_storage().data_ptr() == batch["x"].untyped_storage().data_ptr()


COLUMNS = {
    "id": np.array([1, 2]),
    "colour": np.array([1.0, 2.0]),
    "name": np.array(["a", "b"], dtype=object),
    "raw": np.array([None, b"b"], dtype=object),
    "day": np.array(["2024-01-01", "2024-01-02"], dtype="datetime64[D]"),
}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("color", 'column "color", which the transforms do not give; they give id, colour,'
         ' name (text), raw (bytes), day (a time); did you mean "colour"?'),
        ("label", "which the transforms do not give; they give id, colour, name (text), raw (bytes)"
         ", day (a time)"),
        ("name", 'column "name", which is there but is text, and only numbers become tensors'),
        ("raw", "which is there but is bytes, and"),
        ("day", "which is there but is a time, and"),
    ],
)  # fmt: skip
def test_a_column_that_is_not_there_is_explained(name: str, message: str) -> None:
    batch = to_tensors(COLUMNS, CPU)
    for part in (batch, micro_batches(batch, 1)[1]):
        with pytest.raises(MissingColumnError, match=re.escape(message)):
            part[name]


def test_code_that_can_do_without_a_column_asks_as_of_any_mapping() -> None:
    batch = to_tensors(COLUMNS, CPU)
    assert batch.get("weight") is None
    assert "weight" not in batch
    with pytest.raises(KeyError):
        batch["weight"]
    assert {**batch}.keys() == {"id", "colour"}
