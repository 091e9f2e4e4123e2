"""The summary's line on a mirror that is behind."""

import pytest

from orchestrator.report.mirror import mirror_trouble
from orchestrator.report.records import parse_events


@pytest.mark.parametrize(
    ("kinds", "behind"),
    [
        ([], False),
        (["mirror-failed"], True),
        (["mirror-failed", "finished"], True),
        (["mirror-failed", "mirror-recovered"], False),
        (["mirror-failed", "mirror-recovered", "mirror-failed"], True),
        (["mirror-damaged"], False),
    ],
)
def test_it_is_there_while_the_last_outage_lasts(kinds: list[str], behind: bool) -> None:
    lines = [
        {"time": 1.0, "event": kind, "attempt": None, "reason": "cannot write s3://b/p: no"}
        for kind in kinds
    ]
    wanted = "behind: cannot write s3://b/p: no" if behind else None
    assert mirror_trouble(parse_events(lines)) == wanted
