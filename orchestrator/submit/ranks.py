"""The lines of one rank in a log that all of them write to."""

import re
from collections.abc import Callable

from orchestrator.train.rank_mark import marked_rank

# As Ray puts it before each line of a worker, in colours or not: "(RayTrainWorker pid=12, ip=...)".
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ORIGIN = re.compile(r"^\((\w+ pid=\d+(?:, ip=[^)]*)?)\) ?")
_HELD = 1000
"""Lines of a process that are kept until it has said which rank it is."""


class RankLines:
    """Takes the lines of a log, and shows those of one rank, in all attempts, without their origin.

    A process is known by the mark that it prints as it begins; what it printed before, while its
    modules were imported, counts too.

    Args:
        rank: None shows all lines as they are.
    """

    def __init__(self, rank: int | None, show: Callable[[str], None]) -> None:
        self._rank = rank
        self._show = show
        self._ranks: dict[str, int] = {}
        self._held: dict[str, list[str]] = {}

    def take(self, line: str) -> None:
        """Takes the next line."""
        if self._rank is None:
            self._show(line)
            return
        plain = _COLOUR.sub("", line)
        if (origin := _ORIGIN.match(plain)) is None:
            return
        process, text = origin[1], plain[origin.end() :]
        if (marked := marked_rank(text)) is not None:
            # A number may be that of an earlier process, of another rank.
            self._ranks[process] = marked
            held = self._held.pop(process, [])
            if marked == self._rank:
                for earlier in held:
                    self._show(earlier)
        if process not in self._ranks:
            waiting = self._held.setdefault(process, [])
            if len(waiting) < _HELD:
                waiting.append(text)
        elif self._ranks[process] == self._rank:
            self._show(text)
