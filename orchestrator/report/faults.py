"""What a run failed of, and what that cost, class by class."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.report.records import Event
from orchestrator.units import format_count, format_duration

_FAILURES = frozenset({"attempt-failed", "driver-died"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultCost:
    """All failures of a class.

    Attributes:
        kind: the class, as in the spec's section `failure`.
        steps_lost: steps past the newest checkpoint, which were done again.
        seconds_lost: of the work since that checkpoint.
        seconds_down: from the failures to the next step of training, where there was one.
    """

    kind: str
    count: int
    steps_lost: int
    seconds_lost: float
    seconds_down: float


def fault_costs(events: Sequence[Event]) -> tuple[FaultCost, ...]:
    """Returns what each class of failure has cost, in the order of their first failures."""
    found: dict[str, list[tuple[Event, float]]] = {}
    for number, event in enumerate(events):
        kind = event.fields.get("class")
        if event.event in _FAILURES and isinstance(kind, str):
            found.setdefault(kind, []).append((event, _down(event, events[number + 1 :])))
    return tuple(
        FaultCost(
            kind=kind,
            count=len(of_kind),
            steps_lost=round(sum(_number(event, "steps_lost") for event, _ in of_kind)),
            seconds_lost=sum(_number(event, "seconds_lost") for event, _ in of_kind),
            seconds_down=sum(down for _, down in of_kind),
        )
        for kind, of_kind in found.items()
    )


def in_words(costs: Iterable[FaultCost]) -> list[str]:
    """Returns a line for each class."""
    return [_words(cost) for cost in costs]


def _words(cost: FaultCost) -> str:
    steps = f"{format_count(cost.steps_lost)} {'step' if cost.steps_lost == 1 else 'steps'}"
    lost = f"{steps} and {format_duration(cost.seconds_lost)} of work lost"
    name = cost.kind.replace("_", " ")
    # Of a failure that ended the run, nobody waited for anything.
    down = f", {format_duration(cost.seconds_down)} until training went on"
    return f"{format_count(cost.count)} {name}: {lost}{down if cost.seconds_down else ''}"


def _down(failure: Event, later: Sequence[Event]) -> float:
    """Seconds to the next start of training; another failure on the way has its own."""
    for event in later:
        if event.event in {"training-started", *_FAILURES}:
            return max(0.0, event.time - failure.time)
    return 0.0


def _number(event: Event, name: str) -> float:
    value = event.fields.get(name)
    return value if isinstance(value, int | float) else 0.0
