"""One line for each thing that happens to a run: "step 300  checkpoint  ..."."""

from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from orchestrator.labels import ROLE
from orchestrator.report.records import Event, ValidationRecord
from orchestrator.report.resizes import noticed, resized
from orchestrator.report.text import format_metrics, one_line
from orchestrator.units import format_bytes, format_count, format_duration

_STYLES = {
    "validation": "cyan",
    "checkpoint": "green",
    "set aside": "yellow",
    "quarantined": "yellow",
    "starved": "yellow",
    "hang": "bold red",
    "waiting": "yellow",
    "memory": "yellow",
    "preemption": "yellow",
    "rewound": "yellow",
    "shrunk": "yellow",
    "skipped": "yellow",
    "replaced": "yellow",
    "failed": "bold red",
    "died": "bold red",
    "finished": "bold green",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One thing that happened: where in the run, what in a word, and what there is to say of it."""

    place: str
    word: str
    details: str

    def as_line(self) -> Text:
        """Returns one line, however long, for files."""
        line = Text(f"{self.place}  ").append(f"{self.word:<10}", style=self._style())
        line.append(f"  {self.details}")
        line.rstrip()
        return line

    def as_grid(self) -> Table:
        """Returns the same for terminals: what is too long goes on below where it began."""
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, min_width=10)
        grid.add_column(overflow="fold")
        grid.add_row(Text(self.place), Text(self.word, style=self._style()), Text(self.details))
        return grid

    def _style(self) -> str:
        return _STYLES.get(self.word, "bold")


def of_validation(record: ValidationRecord, *, total_steps: int) -> Happening:
    """Returns what a validation pass measured, and how long it took."""
    measured = "  ".join(format_metrics(record.metrics))
    details = f"{measured}  in {format_duration(record.seconds)}"
    return _happening(record.step, total_steps, "validation", details)


def of_event(event: Event, *, total_steps: int) -> Happening:
    """Returns what happened; an event of an unknown kind is shown with all its fields."""
    fields = event.fields
    match event.event:
        case "attempt-started":
            word, details = _started(event)
        case "attempt-failed":
            word = "failed"
            details = f"attempt {event.attempt}: {one_line(str(fields.get('reason')))}"
        case "driver-died":
            word, details = "died", one_line(str(fields.get("reason")))
        case "preprocessing-death":
            word, details = "replaced", _replaced(event)
        case "checkpoint":
            word, details = "checkpoint", _checkpoint(event)
        case "checkpoint-set-aside":
            word = "set aside"
            details = f"{fields.get('name')}: {one_line(str(fields.get('reason')))}"
        case "other-versions":
            word, details = "versions", f"{fields.get('changes')}, since that checkpoint"
        case "fitting":
            word, details = "fitting", str(fields.get("use"))
        case "fitted":
            word, details = "fitted", _fitted(event)
        case "counting":
            word, details = "counting", f"{fields.get('split')} rows: {fields.get('uses')}"
        case "counted":
            word, details = "counted", _counted(event)
        case "quarantined":
            word, details = "quarantined", _quarantined(event)
        case "hang":
            word, details = "hang", one_line(str(fields.get("reason"))).removeprefix("hang: ")
        case "starved":
            word, details = "starved", one_line(str(fields.get("cause")))
        case "waiting-for-data":
            word, details = "waiting", _waiting(event)
        case "data-arrived":
            word, details = "data", "has arrived"
        case "out-of-memory":
            word, details = "memory", _out_of_memory(event)
        case "rewound":
            word, details = "rewound", _rewound(event)
        case "skipped":
            word, details = "skipped", f"{fields.get('rows')} rows, as the rewind has told"
        case "grown" | "shrunk":
            word, details = event.event, resized(event)
        case "placed":
            word, details = "placed", _placed(event)
        case "preemption-notice":
            word, details = "preemption", noticed(event)
        case "failed":
            word, details = "failed", one_line(str(fields.get("reason")))
        case "finished" | "interrupted" | "stopped":
            word, details = event.event, ""
        case _:
            word = event.event
            shown = (f"{name} {value}" for name, value in fields.items() if name != "step")
            details = one_line(", ".join(shown))
    return _happening(event.step, total_steps, word, details)


def counted_workers(event: Event) -> str:
    """Returns how many workers an attempt was started on, in words."""
    workers = event.fields.get("workers")
    return f"{workers} {'worker' if workers == 1 else 'workers'}"


def _placed(event: Event) -> str:
    """What is on how many nodes of which role: "training: 2 on 1 node (training)"."""
    labels = event.fields.get("labels")
    parts = []
    for what in ("training", "preprocessing"):
        on = event.fields.get(what)
        if not isinstance(on, Mapping) or not isinstance(labels, Mapping):
            continue
        count = sum(int(str(number)) for number in on.values())
        found = [of for node in on if isinstance(of := labels.get(node), Mapping)]
        roles = {str(of[ROLE]) for of in found if ROLE in of}
        called = f" ({', '.join(sorted(roles))})" if roles else ""
        parts.append(f"{what}: {count} on {len(on)} {'node' if len(on) == 1 else 'nodes'}{called}")
    return ", ".join(parts)


def _started(event: Event) -> tuple[str, str]:
    on = counted_workers(event)
    checkpoint = event.fields.get("from_checkpoint")
    if checkpoint is not None:
        return "resumed", f"from {checkpoint} on {on} (attempt {event.attempt})"
    again = "" if event.attempt in (None, 1) else f" (attempt {event.attempt})"
    return "started", f"on {on}{again}"


def _checkpoint(event: Event) -> str:
    size, seconds = event.fields.get("bytes"), event.fields.get("seconds")
    parts = [str(event.fields.get("name"))]
    if isinstance(size, int):
        parts.append(format_bytes(size))
    if isinstance(seconds, int | float):
        parts.append(f"in {format_duration(seconds)}")
    return "  ".join(parts)


def _fitted(event: Event) -> str:
    rows, seconds = event.fields.get("rows"), event.fields.get("seconds")
    parts = [str(event.fields.get("use"))]
    if isinstance(rows, int) and isinstance(seconds, int | float):
        parts.append(f"to {format_count(rows)} rows in {format_duration(seconds)}")
    return "  ".join(parts)


def _counted(event: Event) -> str:
    rows, filtered = event.fields.get("rows"), event.fields.get("filtered")
    seconds = event.fields.get("seconds")
    parts = [f"{event.fields.get('split')} rows"]
    if isinstance(rows, int) and isinstance(filtered, int) and isinstance(seconds, int | float):
        parts.append(
            f"{format_count(rows)}, {format_count(filtered)} of them filtered out, in"
            f" {format_duration(seconds)}"
        )
    return ": ".join(parts)


def _quarantined(event: Event) -> str:
    rows, of_rows = event.fields.get("rows"), event.fields.get("of_rows")
    parts = [f"{event.fields.get('split')} rows"]
    if isinstance(rows, int) and isinstance(of_rows, int):
        listed = f"listed in {event.fields.get('file')}"
        parts.append(f"{format_count(rows)} of {format_count(of_rows)}, {listed}")
    return ": ".join(parts)


def _out_of_memory(event: Event) -> str:
    fields = event.fields
    return (
        f"ran out on worker {fields.get('rank')} with {fields.get('rows')} rows at a time; from now"
        f" on {fields.get('micro_batch_size')}"
    )


def _rewound(event: Event) -> str:
    fields = event.fields
    return (
        f"to the newest checkpoint; the step will be left out (rewind {fields.get('rewinds')} of"
        f" {fields.get('max_rewinds')})"
    )


def _replaced(event: Event) -> str:
    deaths, nodes = event.fields.get("deaths"), event.fields.get("nodes")
    who = "a preprocessing worker" if deaths == 1 else f"{deaths} preprocessing workers"
    where = f" on {', '.join(map(str, nodes))}" if isinstance(nodes, list) and nodes else ""
    return f"{who} died{where}, without a restart ({event.fields.get('pool')})"


def _waiting(event: Event) -> str:
    seconds = event.fields.get("seconds")
    waited = f" for {format_duration(seconds)}" if isinstance(seconds, int | float) else ""
    return f"no data{waited}: {one_line(str(event.fields.get('cause')))}"


def _happening(step: int | None, total_steps: int, word: str, details: str) -> Happening:
    width = len(f"{total_steps:,}")
    place = " " * (len("step ") + width) if step is None else f"step {step:>{width},}"
    return Happening(place=place, word=word, details=details)
