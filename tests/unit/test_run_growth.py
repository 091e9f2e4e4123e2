"""When more workers are worth a stop."""

from orchestrator.run.growth import STEADY_S, Growth


def test_an_attempt_is_stopped_for_more_workers_once_it_has_trained_long_enough() -> None:
    growth = Growth(2, after_s=60.0)
    assert not growth.wanted(4, 1000.0)
    growth.began(1000.0)
    assert not growth.wanted(4, 1059.0)
    assert not growth.wanted(4, 1060.0)
    assert not growth.wanted(4, 1060.0 + STEADY_S / 2)
    assert growth.wanted(4, 1060.0 + STEADY_S)


def test_nodes_that_come_one_after_the_other_are_waited_for() -> None:
    growth = Growth(1, after_s=0.0)
    growth.began(0.0)
    seen = [growth.wanted(possible, now) for now, possible in enumerate([2, 3, 3, 3])]
    assert seen == [False, False, False, True]


def test_room_that_is_gone_at_once_is_no_reason() -> None:
    growth = Growth(1, after_s=0.0)
    growth.began(0.0)
    seen = [growth.wanted(possible, now) for now, possible in enumerate([2, 1, 2, 1, 2, 1, 2])]
    assert not any(seen)


def test_as_many_or_fewer_are_no_growth() -> None:
    growth = Growth(3, after_s=0.0)
    growth.began(0.0)
    assert not any(growth.wanted(possible, float(now)) for now in range(9) for possible in (1, 3))
