"""A run goes on under other versions of its libraries, and says so."""

from orchestrator.report.happenings import of_event
from orchestrator.report.records import Event
from orchestrator.run.other_versions import changes
from orchestrator.train.saving import versions


def test_the_versions_that_differ_are_named() -> None:
    was = {"ray": "2.59.0", "torch": "2.13.0", "python": "3.11.2"}
    now = {"ray": "2.60.0", "torch": "2.13.0", "python": "3.12.1", "orchestrator": "0.1.0"}
    assert changes(was, now) == "python 3.11.2 is now 3.12.1, ray 2.59.0 is now 2.60.0"


def test_the_same_versions_are_no_news() -> None:
    assert changes(versions(), versions()) is None
    assert changes({}, versions()) is None


def test_it_is_shown_as_a_line() -> None:
    event = Event(time=0.0, event="other-versions", attempt=2, fields={"changes": "ray 1 is now 2"})
    line = of_event(event, total_steps=9).as_line().plain
    assert line.endswith("versions    ray 1 is now 2, since that checkpoint")
