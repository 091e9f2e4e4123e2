"""What to say of nodes that come and go: more or fewer workers, and the notice of an end."""

from orchestrator.report.records import Event
from orchestrator.report.text import one_line
from orchestrator.units import format_count, format_duration


def resized(event: Event) -> str:
    """Returns from how many to how many workers, why, and what that has cost."""
    fields = event.fields
    lost, down = fields.get("steps_lost"), fields.get("seconds_down")
    cost = []
    if isinstance(lost, int):
        cost.append(f"{format_count(lost) if lost else 'no'} step{'s' * (lost != 1)} lost")
    if isinstance(down, int | float):
        cost.append(f"{format_duration(down)} until training went on")
    return one_line(
        f"from {fields.get('from')} to {fields.get('to')} workers: {fields.get('why')}"
        + (f" ({', '.join(cost)})" if cost else "")
    )


def noticed(event: Event) -> str:
    """Returns which node is to go, when, and whom that concerns."""
    fields = event.fields
    left = fields.get("seconds_left")
    limit = f" in {format_duration(left)}" if isinstance(left, int | float) else ""
    return (
        f"node {fields.get('address')} ({str(fields.get('node'))[:8]}) is taken away{limit};"
        f" it has {fields.get('workers')} of the workers"
    )
