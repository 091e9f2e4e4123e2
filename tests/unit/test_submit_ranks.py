"""The lines of one rank among those of all, and the lines of a log that comes in pieces."""

from orchestrator.submit.following import _Lines
from orchestrator.submit.ranks import RankLines
from orchestrator.train.rank_mark import marked_rank, rank_mark

LOG = [
    "(RayTrainWorker pid=7) a warning while importing",
    "\x1b[36m(RayTrainWorker pid=8)\x1b[0m rank 1 of 2 begins, attempt 1",
    "(RayTrainWorker pid=7) rank 0 of 2 begins, attempt 1",
    "step 3/9  loss 0.5",
    "(RayTrainWorker pid=7, ip=10.0.0.2) rank 1 of 2 begins, attempt 1",
    "\x1b[36m(RayTrainWorker pid=7)\x1b[0m mine",
    "(RayTrainWorker pid=8) of rank 1",
    "(RayTrainWorker pid=7, ip=10.0.0.2) another machine's",
    "(SplitCoordinator pid=9) rank 0 is mentioned",
    "(RayTrainWorker pid=8) rank 0 of 2 begins, attempt 2",
    "(RayTrainWorker pid=8) mine now",
]


def shown(rank: int | None) -> list[str]:
    lines: list[str] = []
    taker = RankLines(rank, lines.append)
    for line in LOG:
        taker.take(line)
    return lines


def test_a_rank_is_known_by_the_mark_of_its_process() -> None:
    assert shown(0) == [
        "a warning while importing",
        "rank 0 of 2 begins, attempt 1",
        "mine",
        "rank 0 of 2 begins, attempt 2",
        "mine now",
    ]
    assert shown(1) == [
        "rank 1 of 2 begins, attempt 1",
        "rank 1 of 2 begins, attempt 1",
        "of rank 1",
        "another machine's",
    ]
    assert shown(2) == []
    assert shown(None) == LOG


def test_the_mark_is_read_as_it_is_written() -> None:
    assert marked_rank(rank_mark(12, 16, 3)) == 12
    assert marked_rank("rank 12 of 16 begins, attempt 3, said a user") is None


def test_pieces_become_lines_and_a_second_connection_repeats_none() -> None:
    seen: list[str] = []
    lines = _Lines(seen.append)
    lines.begin()
    lines.take("one\ntw")
    lines.take("o\r\nthr")
    assert seen == ["one", "two"]
    lines.begin()
    lines.take("one\ntwo\nthree\nfour")
    lines.end()
    assert seen == ["one", "two", "three", "four"]
