"""What a run failed of, and what that cost, class by class."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.report.records import Event
from orchestrator.units import format_count, format_duration

_FAILURES = frozenset({"attempt-failed", "driver-died"})
# Ended no attempt.
_REPLACED = "preprocessing-death"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultCost:
    """All failures of a class.

    Attributes:
        kind: the class, as in the spec's section `failure`.
        steps_lost: steps past the newest checkpoint, which were done again.
        seconds_lost: of the work since that checkpoint.
        seconds_down: from the failures to the next step of training, where there was one.
        replaced: processes of this class that died and that Ray replaced; `count` is without them.
    """

    kind: str
    count: int
    steps_lost: int
    seconds_lost: float
    seconds_down: float
    replaced: int = 0


def fault_costs(events: Sequence[Event]) -> tuple[FaultCost, ...]:
    """Returns what each class of failure has cost, in the order of their first failures."""
    found: dict[str, list[tuple[Event, float]]] = {}
    replaced: Counter[str] = Counter()
    for number, event in enumerate(events):
        kind = event.fields.get("class")
        if event.event in _FAILURES and isinstance(kind, str):
            found.setdefault(kind, []).append((event, _down(event, events[number + 1 :])))
        if event.event == _REPLACED and isinstance(kind, str):
            found.setdefault(kind, [])
            replaced[kind] += round(_number(event, "deaths"))
    return tuple(
        FaultCost(
            kind=kind,
            count=len(of_kind),
            steps_lost=round(sum(_number(event, "steps_lost") for event, _ in of_kind)),
            seconds_lost=sum(_number(event, "seconds_lost") for event, _ in of_kind),
            seconds_down=sum(down for _, down in of_kind),
            replaced=replaced[kind],
        )
        for kind, of_kind in found.items()
    )


def in_words(costs: Iterable[FaultCost]) -> list[str]:
    """Returns a line for each class."""
    return [_words(cost) for cost in costs]


def _words(cost: FaultCost) -> str:
    name = cost.kind.replace("_", " ")
    if not cost.count:
        return f"{format_count(cost.replaced)} {name}: replaced without a restart"
    steps = f"{format_count(cost.steps_lost)} {'step' if cost.steps_lost == 1 else 'steps'}"
    lost = f"{steps} and {format_duration(cost.seconds_lost)} of work lost"
    # Of a failure that ended the run, nobody waited for anything.
    waited = f", {format_duration(cost.seconds_down)} until training went on"
    down = waited if cost.seconds_down else ""
    more = f", {format_count(cost.replaced)} more replaced without a restart"
    return f"{format_count(cost.count)} {name}: {lost}{down}{more if cost.replaced else ''}"


def _down(failure: Event, later: Sequence[Event]) -> float:
    """Seconds to the next start of training; another failure on the way has its own."""
    for event in later:
        if event.event in {"training-started", *_FAILURES}:
            return max(0.0, event.time - failure.time)
    return 0.0


def _number(event: Event, name: str) -> float:
    value = event.fields.get(name)
    return value if isinstance(value, int | float) else 0.0
