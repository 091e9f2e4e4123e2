"""A rank's rows become tensors without a copy, and are cut without one."""

import numpy as np
import pytest
import torch

from orchestrator.errors import JobFailedError
from orchestrator.train.batch import micro_batches, numeric_tensors, to_tensors

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
        numeric_tensors({"name": np.array(["a"], dtype=object)}, CPU)


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
    batch = {"x": torch.arange(5), "y": torch.arange(5) * 2}
    cut = micro_batches(batch, size)
    assert [piece["x"].tolist() for piece in cut] == pieces
    assert all(piece["y"].tolist() == [2 * i for i in piece["x"].tolist()] for piece in cut)


def test_pieces_are_views() -> None:
    batch = {"x": torch.arange(5)}
    piece = micro_batches(batch, 2)[1]["x"]
    assert piece.untyped_storage().data_ptr() == batch["x"].untyped_storage().data_ptr()
