"""Which rank holds up the others: a pure decision about the beats of the ranks."""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.train.beat import Beat


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """No rank has made any progress for the limit.

    Attributes:
        suspects: the ranks that the others wait for; all, where none can be told from another.
        frozen: whether these are suspected because no Python of them runs at all.
        missing: whether these are suspected because they have never begun.
        seconds: since the last progress of any rank.
        step: steps that the slowest rank has done.
    """

    suspects: tuple[int, ...]
    frozen: bool = False
    missing: bool = False
    seconds: float
    step: int


@dataclass(kw_only=True, slots=True)
class _Seen:
    """The newest beat of a rank, and when it and its progress were new, in seconds watched."""

    beat: Beat
    beat_at: float
    progress_at: float


class HangJudge:
    """Takes one look after another at the beats of one attempt.

    Only changes count, by the clock of who looks: clocks of machines differ. Time counts as long as
    there are looks: where the driver itself was stopped, its ranks mostly were too.

    Args:
        limit_s: how long no rank may make any progress.
        longest_gap_s: the time between two looks that counts at most.
    """

    def __init__(self, *, limit_s: float, longest_gap_s: float) -> None:
        self._limit_s = limit_s
        self._longest_gap_s = longest_gap_s
        self._looked_at: float | None = None
        self._watched_s = 0.0
        self._since = 0.0
        self._seen: dict[int, _Seen] = {}

    def look(self, beats: Mapping[int, Beat], *, now: float) -> Verdict | None:
        """The verdict, once no rank that is not done has made any progress for the limit."""
        if self._looked_at is not None:
            self._watched_s += min(now - self._looked_at, self._longest_gap_s)
        self._looked_at = now
        if not self._seen:
            self._since = self._watched_s
        for rank, beat in beats.items():
            self._take(rank, beat)
        running = {rank: seen for rank, seen in self._seen.items() if not seen.beat.ended}
        if not running:
            return None
        last = max([self._since, *(seen.progress_at for seen in running.values())])
        if (stalled_s := self._watched_s - last) < self._limit_s:
            return None
        return self._judge(running, stalled_s)

    def begin_again(self) -> None:
        """Gives the ranks the whole limit once more."""
        self._since = self._watched_s

    def _take(self, rank: int, beat: Beat) -> None:
        now, old = self._watched_s, self._seen.get(rank)
        if old is None:
            self._seen[rank] = _Seen(beat=beat, beat_at=now, progress_at=now)
            return
        if (beat.progress, beat.ended) != (old.beat.progress, old.beat.ended):
            old.progress_at = now
        if beat.count != old.beat.count:
            old.beat_at = now
        old.beat = beat

    def _judge(self, running: Mapping[int, _Seen], stalled_s: float) -> Verdict:
        workers = max(seen.beat.workers for seen in self._seen.values())
        step = min(seen.beat.step for seen in running.values())
        missing = tuple(sorted(set(range(workers)) - self._seen.keys()))
        if missing:
            return Verdict(suspects=missing, missing=True, seconds=stalled_s, step=step)
        # Half of the limit: a thread may be kept from running for a while without any harm.
        frozen = [
            rank
            for rank, seen in running.items()
            if self._watched_s - seen.beat_at >= self._limit_s / 2
        ]
        if frozen:
            suspects = tuple(sorted(frozen))
            # Its own last beat may be older than its last steps.
            step = min((running[rank].beat.step for rank in running.keys() - frozen), default=step)
            return Verdict(suspects=suspects, frozen=True, seconds=stalled_s, step=step)
        # All ranks begin the same collectives in the same order. Who has begun fewer than the
        # others has not come to where they wait.
        fewest = min(seen.beat.collectives for seen in running.values())
        behind = [rank for rank, seen in running.items() if seen.beat.collectives == fewest]
        return Verdict(suspects=tuple(sorted(behind)), seconds=stalled_s, step=step)
