"""The file that says which steps of an epoch are done."""

from pathlib import Path

import pytest

from orchestrator.checkpoint.open_epoch import (
    OPEN_EPOCH_FILE,
    read_open_epoch,
    write_open_epoch,
)
from orchestrator.errors import CheckpointError
from orchestrator.plan.geometry import Cursor
from orchestrator.plan.open_epoch import OpenEpoch

CURSOR = Cursor(epoch=3, step=6)
OPENED = OpenEpoch(epoch=3, done=((0, 4), (8, 10)))


def test_it_is_read_as_it_was_written_and_takes_few_bytes(tmp_path: Path) -> None:
    write_open_epoch(tmp_path, OPENED)
    assert read_open_epoch(tmp_path, CURSOR) == OPENED
    assert (tmp_path / OPEN_EPOCH_FILE).read_text() == '{"epoch": 3, "done": [[0, 4], [8, 10]]}\n'


def test_a_checkpoint_in_order_has_none(tmp_path: Path) -> None:
    assert read_open_epoch(tmp_path, CURSOR) is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"epoch": 3}',
        '{"epoch": 3, "done": [[0, 4]]}',
        '{"epoch": 2, "done": [[0, 4], [8, 10]]}',
        '{"epoch": 3, "done": [[8, 10], [0, 4]]}',
        '{"epoch": 3, "done": [[0, 4], [4, 6]]}',
        '{"epoch": 3, "done": [[-2, 4]]}',
        '{"epoch": 3, "done": [[0, 8], [10, 8]]}',
        '{"epoch": 3, "done": [[0, 4, 6]]}',
    ],
)
def test_what_cannot_be_of_this_checkpoint_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / OPEN_EPOCH_FILE).write_text(content)
    with pytest.raises(CheckpointError, match=OPEN_EPOCH_FILE):
        read_open_epoch(tmp_path, CURSOR)
