"""Policies as tables: when to save and what to keep."""

import math
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.checkpoint.manifest import CheckpointInfo, Manifest, checkpoint_name
from orchestrator.checkpoint.policy import (
    AnyOf,
    AtEnd,
    EveryEpochs,
    EverySeconds,
    EverySteps,
    SaveMoment,
    SavePolicy,
    save_policy,
)
from orchestrator.checkpoint.retention import (
    AnyOfRetention,
    BestN,
    FirstOfEach,
    LatestN,
    RetentionPolicy,
)
from orchestrator.units import Interval


def moment(
    step: int = 7, epochs: int = 0, seconds: float = 0.0, *, ends: bool = False, last: bool = False
) -> SaveMoment:
    return SaveMoment(
        step=step,
        epoch_finished=ends,
        epochs_finished=epochs,
        seconds_since_save=seconds,
        last=last,
    )


@pytest.mark.parametrize(
    ("policy", "at", "expected"),
    [
        (EverySteps(3), moment(step=6), True),
        (EverySteps(3), moment(step=7), False),
        (EverySteps(3), moment(step=7, last=True), False),
        (EveryEpochs(2), moment(epochs=2, ends=True), True),
        (EveryEpochs(2), moment(epochs=2), False),
        (EveryEpochs(2), moment(epochs=3, ends=True), False),
        (EverySeconds(5.0), moment(seconds=5.0), True),
        (EverySeconds(5.0), moment(seconds=4.9), False),
        (AtEnd(), moment(last=True), True),
        (AtEnd(), moment(), False),
        (AnyOf((EverySteps(3), EverySeconds(5.0))), moment(step=3), True),
        (AnyOf((EverySteps(3), EverySeconds(5.0))), moment(seconds=9.0), True),
        (AnyOf((EverySteps(3), EverySeconds(5.0))), moment(), False),
        (AnyOf(()), moment(last=True), False),
    ],
)
def test_a_save_policy_decides(policy: SavePolicy, at: SaveMoment, expected: bool) -> None:
    assert policy.should_save(at) is expected


@pytest.mark.parametrize(
    ("interval", "yes"),
    [
        (Interval(steps=3), moment(step=3)),
        (Interval(epochs=2), moment(epochs=2, ends=True)),
        (Interval(seconds=5.0), moment(seconds=5.0)),
    ],
)
def test_an_interval_saves_when_due_and_at_the_end(interval: Interval, yes: SaveMoment) -> None:
    policy = save_policy(interval)
    assert policy.should_save(yes)
    assert policy.should_save(moment(last=True))
    assert not policy.should_save(moment())


def checkpoint(step: int, attempt: int = 1, **metrics: float) -> CheckpointInfo:
    manifest = Manifest(
        name=checkpoint_name(step, attempt),
        attempt=attempt,
        step=step,
        cursor={"epoch": 0, "step": step},
        metrics=metrics,
        order_fingerprint="",
        parts={},
        versions={},
    )
    return CheckpointInfo(path=Path(manifest.name), manifest=manifest)


CHECKPOINTS = [
    checkpoint(5, loss=math.nan),
    checkpoint(4, loss=2.0),
    checkpoint(3, loss=1.0),
    checkpoint(2),
    checkpoint(1, loss=1.0),
    checkpoint(0, loss=-math.inf),
]


@pytest.mark.parametrize(
    ("policy", "steps"),
    [
        (LatestN(1), {5}),
        (LatestN(3), {5, 4, 3}),
        (LatestN(99), {5, 4, 3, 2, 1, 0}),
        (BestN("loss"), {5, 3}),
        (BestN("loss", count=2), {5, 3, 1}),
        (BestN("loss", "max"), {5, 4}),
        (BestN("loss", "max", count=2), {5, 4, 3}),
        (BestN("loss", count=99), {5, 4, 3, 1}),
        (BestN("accuracy"), {5}),
        (FirstOfEach(1), {5, 4, 3, 2, 1}),
        (FirstOfEach(2), {5, 4, 2}),
        (FirstOfEach(4), {5, 4}),
        (FirstOfEach(6), {5}),
        (AnyOfRetention((LatestN(2), BestN("loss"))), {5, 4, 3}),
        (AnyOfRetention(()), {5}),
    ],
)
def test_retention_keeps(policy: RetentionPolicy, steps: set[int]) -> None:
    assert policy.keep(CHECKPOINTS) == {checkpoint_name(step, 1) for step in steps}


def test_the_first_of_each_span_stays_for_ever_whenever_saves_are_made() -> None:
    policy = AnyOfRetention((LatestN(1), FirstOfEach(10)))
    left: list[CheckpointInfo] = []
    for step in (3, 7, 12, 14, 19, 21, 22, 43, 49, 50, 58):
        left.append(checkpoint(step))
        kept = policy.keep(left)
        left = [info for info in left if info.name in kept]
    assert [info.manifest.step for info in left] == [12, 21, 43, 50, 58]


POLICIES = [
    LatestN(1),
    BestN("loss"),
    FirstOfEach(2),
    AnyOfRetention(()),
    AnyOfRetention((BestN("loss", "max"),)),
]


@given(
    st.sampled_from(POLICIES),
    st.dictionaries(st.tuples(st.integers(0, 9), st.integers(1, 3)), st.floats(), min_size=1),
    st.randoms(use_true_random=False),
)
def test_the_newest_is_kept_and_the_order_given_does_not_matter(
    policy: RetentionPolicy, losses: dict[tuple[int, int], float], random: Random
) -> None:
    checkpoints = [checkpoint(*key, loss=loss) for key, loss in losses.items()]
    kept = policy.keep(checkpoints)
    assert checkpoint_name(*max(losses)) in kept
    random.shuffle(checkpoints)
    assert policy.keep(checkpoints) == kept


@pytest.mark.parametrize("policy", POLICIES)
def test_no_checkpoints_keep_nothing(policy: RetentionPolicy) -> None:
    assert policy.keep([]) == frozenset()


@pytest.mark.parametrize(
    "make",
    [
        lambda: EverySteps(0),
        lambda: EveryEpochs(-1),
        lambda: EverySeconds(math.nan),
        lambda: LatestN(0),
        lambda: BestN("loss", count=0),
        lambda: FirstOfEach(0),
    ],
)
def test_a_count_that_is_not_positive_is_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match="wanted more than 0"):
        make()
