"""The witness of the chaos tests: what counts follows the line of parents, rank after rank."""

import json
from pathlib import Path

from tests.support.witness import Witness


def record(folder: Path, number: int, *, parent: int | None, step: int, workers: int) -> None:
    (folder / "attempts").mkdir(exist_ok=True)
    content = {"number": number, "parent": parent, "step": step, "workers": workers}
    (folder / "attempts" / f"{number}.json").write_text(json.dumps(content))


def write(folder: Path, attempt: int, *ranks: list[list[int]]) -> None:
    for rank, steps in enumerate(ranks):
        lines = "".join(f"{json.dumps(rows)}\n" for rows in steps)
        (folder / f"attempt-{attempt}-rank-{rank}").write_text(lines)


def test_a_step_is_made_of_the_rows_of_all_ranks_in_their_order(tmp_path: Path) -> None:
    record(tmp_path, 1, parent=None, step=0, workers=2)
    write(tmp_path, 1, [[0, 1], [4, 5]], [[2, 3], [6]])
    assert Witness(log=tmp_path, run_dir=tmp_path).effective == {0: [0, 1, 2, 3], 1: [4, 5, 6]}


def test_what_an_attempt_did_past_its_successors_start_does_not_count(tmp_path: Path) -> None:
    record(tmp_path, 1, parent=None, step=0, workers=1)
    record(tmp_path, 2, parent=1, step=1, workers=2)
    write(tmp_path, 1, [[0], [9], [9]])
    write(tmp_path, 2, [[1], [3]], [[2]])
    witness = Witness(log=tmp_path, run_dir=tmp_path)
    # The last step of the second attempt was not begun by both of its ranks.
    assert witness.effective == {0: [0], 1: [1, 2]}
    assert witness.trained[1] == {0: [0], 1: [9], 2: [9]}


def test_an_attempt_that_nobody_went_on_from_counts_nothing(tmp_path: Path) -> None:
    record(tmp_path, 1, parent=None, step=0, workers=1)
    record(tmp_path, 2, parent=None, step=0, workers=1)
    write(tmp_path, 1, [[9], [9]])
    write(tmp_path, 2, [[0]])
    assert Witness(log=tmp_path, run_dir=tmp_path).effective == {0: [0]}


def test_an_attempt_that_never_trained_is_in_the_line_all_the_same(tmp_path: Path) -> None:
    record(tmp_path, 1, parent=None, step=0, workers=1)
    record(tmp_path, 2, parent=1, step=1, workers=1)
    record(tmp_path, 3, parent=1, step=1, workers=1)
    write(tmp_path, 1, [[0], [9]])
    write(tmp_path, 3, [[1]])
    assert Witness(log=tmp_path, run_dir=tmp_path).effective == {0: [0], 1: [1]}
