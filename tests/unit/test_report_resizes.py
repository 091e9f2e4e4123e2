"""How the coming and going of nodes reads."""

import pytest

from orchestrator.report.happenings import of_event
from orchestrator.report.records import Event
from orchestrator.report.resizes import resized


def event(name: str, **fields: object) -> Event:
    return Event(time=1.0, event=name, attempt=2, fields=fields)  # type: ignore[arg-type]


def test_a_growth_says_why_and_what_it_cost() -> None:
    grown = event(
        "grown",
        **{"from": 1, "to": 3, "step": 40, "why": "the cluster has room for 3 workers"},
        steps_lost=0,
        seconds_down=6.5,
    )
    assert str(of_event(grown, total_steps=100).as_line()) == (
        "step  40  grown       from 1 to 3 workers: the cluster has room for 3 workers"
        " (no steps lost, 6.5s until training went on)"
    )


@pytest.mark.parametrize(
    ("fields", "cost"),
    [
        ({}, ""),
        ({"steps_lost": 1}, " (1 step lost)"),
        ({"steps_lost": 7, "seconds_down": 2.0}, " (7 steps lost, 2s until training went on)"),
    ],
)
def test_what_is_not_known_of_the_cost_is_not_said(fields: dict[str, object], cost: str) -> None:
    shrunk = event("shrunk", **{"from": 2, "to": 1, "why": "worker 1 died"}, **fields)
    assert resized(shrunk) == f"from 2 to 1 workers: worker 1 died{cost}"


@pytest.mark.parametrize(("left", "limit"), [(30.0, " in 30s"), (None, "")])
def test_a_notice_names_the_node_and_the_time_that_is_left(left: float | None, limit: str) -> None:
    notice = event("preemption-notice", node="abcdef0123456789", address="10.0.0.7", workers=2)
    notice = event(notice.event, **notice.fields, seconds_left=left)
    assert of_event(notice, total_steps=9).details == (
        f"node 10.0.0.7 (abcdef01) is taken away{limit}; it has 2 of the workers"
    )
