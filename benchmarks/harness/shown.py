"""How figures and checks are worded, alike on the screen and on the page."""

from collections.abc import Iterator, Sequence

from benchmarks.harness.kinds import kind_of, peer_ahead
from benchmarks.harness.outcome import Check, Figure, Outcome
from benchmarks.harness.repeat import Series

# A limit that has moved further between the first round and the last was not one and the same.
_DRIFT = 0.05
_MIB = 1 << 20


def number(value: float) -> str:
    """With three digits that count, and with all of them where there are more before the point."""
    if value != 0 and abs(value) < 0.001:
        return f"{value:.2g}"
    digits = next((d for limit, d in ((1, 3), (10, 2), (100, 1)) if abs(value) < limit), 0)
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text


def spread(series: Series) -> str:
    """The median, and from where to where the values go."""
    median = number(series.median)
    if len(series.values) == 1:
        return median
    return f"{median} ({number(series.low)} - {number(series.high)})"


def readable(figure: Figure) -> Figure:
    """The figure in the unit in which it is shown: MiB instead of bytes."""
    if figure.unit not in ("bytes", "bytes/s"):
        return figure
    unit = figure.unit.replace("bytes", "MiB")
    values = tuple(value / _MIB for value in figure.values)
    return Figure(name=figure.name, unit=unit, values=values)


def target(check: Check) -> str:
    return "-" if check.target is None else f"{check.sense} {number(check.target)}"


def verdict(check: Check) -> str:
    return {True: "met", False: "MISSED", None: "-"}[check.met]


def remarks(outcome: Outcome) -> Iterator[str]:
    """What a reader must know besides the benchmark's notes: faster peers, limits that moved."""
    for figure in outcome.figures:
        moved = _drift(figure)
        if kind_of(figure, outcome) == "limit" and moved is not None:
            yield (
                f"DRIFT: the limit {figure.name} moved by {moved:+.0%} from the first round to"
                " the last; the machine was not the same throughout."
            )
    for check in outcome.checks:
        if (peer := peer_ahead(check)) is not None:
            ratio = number(check.series.median)
            yield f"{peer} is ahead of ours: the ratio is {ratio}."


def _drift(figure: Figure) -> float | None:
    first, last = figure.values[0], figure.values[-1]
    moved = last / first - 1 if first else 0
    return moved if abs(moved) > _DRIFT else None


def table(outcome: Outcome) -> str:
    """The outcome as text in columns."""
    figures = [
        (figure.name, spread(figure.series), figure.unit)
        for figure in map(readable, outcome.figures)
    ]
    checks = [
        (check.name, spread(check.series), target(check), verdict(check))
        for check in outcome.checks
    ]
    lines = [
        *_columns([("figure", "median (min - max)", "unit"), *figures]),
        "",
        *_columns([("ratio", "median (min - max)", "target", "result"), *checks]),
        "",
        *(f"note: {note}" for note in (*outcome.notes, *remarks(outcome))),
    ]
    return "\n".join(lines)


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  " + "  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip()
