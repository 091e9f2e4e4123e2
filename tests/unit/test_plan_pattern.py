"""The pattern: every source gets its share, evenly, and how much it got is known at any place."""

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.plan.pattern import SLOTS, Pattern, TakingTurns, Weights, share_out

# Some of them 0, and none so small that it has no slot.
weights_of = st.lists(
    st.one_of(st.just(0.0), st.floats(0.01, 100.0)), min_size=1, max_size=5
).filter(any)


@st.composite
def phases(draw: st.DrawFn) -> list[tuple[int, Weights]]:
    sources = draw(st.integers(1, 4))
    weights = st.tuples(*[st.one_of(st.just(0.0), st.floats(0.01, 10.0))] * sources).filter(any)
    starts = sorted(draw(st.sets(st.integers(1, 200_000), max_size=3)))
    return [(start, draw(weights)) for start in (0, *starts)]


@pytest.mark.parametrize(
    ("weights", "slots"),
    [
        ((1.0,), [SLOTS]),
        ((0.5, 0.5), [SLOTS // 2, SLOTS // 2]),
        ((0.7, 0.3), [45875, 19661]),
        ((7.0, 3.0), [45875, 19661]),
        ((1.0, 1.0, 1.0), [21846, 21845, 21845]),
        ((0.0, 1.0), [0, SLOTS]),
        ((1.0, SLOTS - 1.0), [1, SLOTS - 1]),
        ((1e308, 1e308, 1e308, 1e308), [SLOTS // 4] * 4),
        ((5e-324, 1e308), [0, SLOTS]),
    ],
)
def test_slots_are_shared_out_by_weight_to_the_last_one(weights: Weights, slots: list[int]) -> None:
    assert share_out(weights) == slots


@given(weights_of)
def test_every_slot_is_given_and_no_source_is_off_by_a_whole_one(weights: list[float]) -> None:
    slots = share_out(tuple(weights))
    assert sum(slots) == SLOTS
    for count, weight in zip(slots, weights, strict=True):
        assert abs(count - SLOTS * weight / sum(weights)) < 1 + 1e-6


@settings(max_examples=30)
@given(weights_of, st.integers(0, 3 * SLOTS), st.integers(0, SLOTS + 1000))
def test_any_stretch_has_the_shares_of_the_weights(
    weights: list[float], start: int, length: int
) -> None:
    pattern = Pattern(tuple(weights))
    given_there = np.bincount(pattern.sources(start, start + length), minlength=len(weights))
    slots = np.array(share_out(tuple(weights)))
    # The shares of the slots, to which the weights are rounded.
    assert np.all(np.abs(given_there - length * slots / SLOTS) <= len(weights) + 1)


@settings(max_examples=30)
@given(phases(), st.integers(0, 300_000), st.integers(0, 5_000))
def test_what_was_given_is_what_a_walk_from_the_start_counts(
    phases: list[tuple[int, Weights]], start: int, length: int
) -> None:
    turns = TakingTurns(phases)
    sources = len(phases[0][1])
    walked = turns.sources(0, start + length)
    assert len(walked) == start + length
    assert turns.given(start).tolist() == np.bincount(walked[:start], minlength=sources).tolist()
    assert turns.given(start + length).tolist() == np.bincount(walked, minlength=sources).tolist()
    assert turns.sources(start, start + length).tolist() == walked[start:].tolist()


@settings(max_examples=30)
@given(phases())
def test_each_phase_follows_its_own_weights(phases: list[tuple[int, Weights]]) -> None:
    turns = TakingTurns(phases)
    ends = [start for start, _ in phases[1:]] + [phases[-1][0] + 70_000]
    for (start, weights), end in zip(phases, ends, strict=True):
        share = np.array(share_out(weights)) / SLOTS
        got = turns.given(end) - turns.given(start)
        assert np.all(np.abs(got - (end - start) * share) <= len(weights) + 1)
        assert np.all(got[share == 0] == 0)


def test_a_place_far_into_a_run_is_found_at_once() -> None:
    turns = TakingTurns([(0, (0.7, 0.3)), (10**14, (0.1, 0.9))])
    one, other = (turns.given(place) for place in (10**15, 10**15 + SLOTS))
    assert (other - one).tolist() == share_out((0.1, 0.9))
    assert int(one.sum()) == 10**15


def test_two_sources_of_equal_weight_take_turns() -> None:
    sources = Pattern((1.0, 1.0)).sources(0, 100).tolist()
    assert all(one != other for one, other in pairwise(sources))


def test_the_pattern_is_the_one_that_checkpoints_were_made_with() -> None:
    # A change of these values changes the order of every mixture: it must never come unnoticed.
    assert Pattern((0.7, 0.3)).sources(0, 12).tolist() == [0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1]
    whole = Pattern((0.5, 0.3, 0.2)).sources(0, SLOTS).astype("<u2").tobytes()
    assert hashlib.sha256(whole).hexdigest()[:16] == "26548c71a52f2b8f"
