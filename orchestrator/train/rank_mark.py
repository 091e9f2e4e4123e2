"""The first line that each rank prints: by it the lines of a rank are known in a common log."""

import re

_MARK = re.compile(r"rank (\d+) of \d+ begins, attempt \d+\s*$")


def rank_mark(rank: int, workers: int, attempt: int) -> str:
    """The line."""
    return f"rank {rank} of {workers} begins, attempt {attempt}\n"


def marked_rank(line: str) -> int | None:
    """The rank that a line announces; whatever a log puts before it does not matter."""
    found = _MARK.search(line)
    return None if found is None else int(found[1])
