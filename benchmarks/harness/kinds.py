"""Whose figure it is, by its name: ours, a limit's, or a peer's."""

import re
from typing import Literal, TypeAlias

from benchmarks.harness.outcome import Check, Figure, Outcome

Kind: TypeAlias = Literal["ours", "peer", "limit", "other"]

_OURS = re.compile(r"ours\b")
# The limits' names: rows a second of preprocessing (P1, PC, and with reading PR1, PRC), of the
# consumer (T), and the lower of two.
_LIMIT = re.compile(r"(P1|PC|PR1|PRC|T|B|min)\b")
_AGAINST = "ours / "


def kind_of(figure: Figure, outcome: Outcome) -> Kind:
    """What stands beside ours in the same unit is a peer; without ours there are no peers."""
    if _OURS.match(figure.name):
        return "ours"
    if _LIMIT.match(figure.name):
        return "limit"
    beside = (other.name for other in outcome.figures if other.unit == figure.unit)
    return "peer" if any(map(_OURS.match, beside)) else "other"


def peer_ahead(check: Check) -> str | None:
    """The peer of a ratio "ours / peer" that is better than ours; None where none is."""
    peer = check.name.removeprefix(_AGAINST)
    if peer == check.name or _LIMIT.match(peer):
        return None
    median = check.series.median
    return peer if (median < 1 if check.sense == ">=" else median > 1) else None
