"""What the summary says of a mirror that fell behind."""

from collections.abc import Sequence

from orchestrator.report.records import Event


def mirror_trouble(events: Sequence[Event]) -> str | None:
    """Why the mirror lacks the newest checkpoint; None where nothing is known against it."""
    last = next((e for e in reversed(events) if e.event.startswith("mirror-")), None)
    if last is None or last.event != "mirror-failed":
        return None
    return f"behind: {last.fields.get('reason')}"
