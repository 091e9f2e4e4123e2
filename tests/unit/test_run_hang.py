"""Which rank is held for the one that hangs; the clock is a number."""

from dataclasses import replace

from orchestrator.run.hang import HangJudge, Verdict
from orchestrator.train.beat import Beat

LIMIT_S, EVERY_S = 60.0, 3.0


class Group:
    """Ranks that beat whenever they are looked at, unless they are frozen."""

    def __init__(self, workers: int = 3) -> None:
        self.judge = HangJudge(limit_s=LIMIT_S, longest_gap_s=2 * EVERY_S)
        self.frozen: set[int] = set()
        self.now = 1000.0
        self.beats = {rank: beat(rank, workers=workers) for rank in range(workers)}

    def train(self, rank: int, *, step: int, collectives: int, validated: int = 0) -> None:
        self.beats[rank] = replace(
            self.beats[rank], step=step, collectives=collectives, validated=validated
        )

    def watch(self, seconds: float) -> Verdict | None:
        """Looks until there is a verdict, or for so long."""
        end = self.now + seconds
        while self.now < end:
            self.now += EVERY_S
            for rank, old in self.beats.items():
                if rank not in self.frozen:
                    self.beats[rank] = replace(old, count=old.count + 1)
            if (verdict := self.judge.look(self.beats, now=self.now)) is not None:
                return verdict
        return None


def beat(rank: int, *, workers: int = 3) -> Beat:
    return Beat(
        rank=rank,
        workers=workers,
        node="n",
        pid=100 + rank,
        birth=1.0,
        thread=7,
        count=0,
        step=0,
        collectives=0,
        validated=0,
    )


def test_nothing_is_wrong_as_long_as_some_rank_gets_further() -> None:
    group = Group()
    for step in range(1, 10):
        group.train(step % 3, step=step, collectives=step)
        assert group.watch(LIMIT_S - 2 * EVERY_S) is None


def test_validation_batches_are_progress() -> None:
    group = Group(workers=1)
    for batch in range(1, 5):
        group.train(0, step=7, collectives=0, validated=batch)
        assert group.watch(LIMIT_S - 2 * EVERY_S) is None
    assert group.watch(LIMIT_S) == Verdict(suspects=(0,), seconds=LIMIT_S, step=7)


def test_the_rank_that_has_begun_fewer_collectives_holds_up_the_others() -> None:
    group = Group()
    group.watch(10)
    # The others wait in the collective of step 5, rank 1 is in its own code of the same step.
    group.train(0, step=5, collectives=16)
    group.train(1, step=5, collectives=15)
    group.train(2, step=5, collectives=16)
    verdict = group.watch(2 * LIMIT_S)
    assert verdict == Verdict(suspects=(1,), seconds=LIMIT_S, step=5)


def test_all_are_suspects_where_none_is_behind() -> None:
    verdict = Group().watch(2 * LIMIT_S)
    assert verdict == Verdict(suspects=(0, 1, 2), seconds=LIMIT_S, step=0)


def test_a_rank_of_which_nothing_runs_is_the_suspect_whatever_it_has_begun() -> None:
    group = Group()
    group.train(0, step=5, collectives=15)
    group.train(1, step=5, collectives=15)
    group.train(2, step=3, collectives=16)
    group.watch(EVERY_S)
    group.frozen = {2}
    verdict = group.watch(2 * LIMIT_S)
    assert verdict is not None
    assert (verdict.suspects, verdict.frozen, verdict.step) == ((2,), True, 5)


def test_a_rank_that_ran_again_before_the_end_is_not_the_suspect() -> None:
    group = Group()
    for rank, collectives in enumerate((15, 16, 16)):
        group.train(rank, step=5, collectives=collectives)
    group.watch(EVERY_S)
    group.frozen = {2}
    assert group.watch(LIMIT_S - 5 * EVERY_S) is None
    group.frozen = set()
    verdict = group.watch(LIMIT_S)
    assert verdict is not None
    assert (verdict.suspects, verdict.frozen) == ((0,), False)


def test_a_rank_that_never_began_is_the_suspect() -> None:
    group = Group()
    del group.beats[1]
    verdict = group.watch(2 * LIMIT_S)
    assert verdict is not None
    assert (verdict.suspects, verdict.missing) == ((1,), True)


def test_before_any_rank_has_begun_there_is_nothing_to_judge() -> None:
    group = Group()
    group.beats = {}
    assert group.watch(5 * LIMIT_S) is None
    group.beats = {0: beat(0, workers=1)}
    assert group.watch(LIMIT_S - 2 * EVERY_S) is None


def test_a_rank_that_is_done_holds_up_nobody() -> None:
    group = Group(workers=2)
    group.watch(EVERY_S)
    group.beats[0] = replace(group.beats[0], ended=True)
    group.frozen = {0}
    verdict = group.watch(2 * LIMIT_S)
    assert verdict is not None
    assert verdict.suspects == (1,)
    group.beats[1] = replace(group.beats[1], ended=True)
    assert group.watch(5 * LIMIT_S) is None


def test_time_in_which_the_driver_itself_stood_still_does_not_count() -> None:
    group = Group()
    assert group.watch(EVERY_S) is None
    group.now += 100 * LIMIT_S
    assert group.watch(LIMIT_S - 4 * EVERY_S) is None
    assert group.watch(LIMIT_S) is not None


def test_after_a_verdict_the_limit_begins_anew() -> None:
    group = Group()
    assert group.watch(2 * LIMIT_S) is not None
    group.judge.begin_again()
    assert group.watch(LIMIT_S - EVERY_S) is None
    assert group.watch(2 * EVERY_S) is not None
